"""The order of examples: exact, elastic and small."""

import itertools
import json

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.order import Cursor, epoch_order, share


def test_epoch_order_is_a_permutation_that_depends_on_seed_and_epoch_alone() -> None:
    one = epoch_order(100, seed=1, epoch=0)
    assert sorted(one.tolist()) == list(range(100))
    assert torch.equal(one, epoch_order(100, seed=1, epoch=0))
    assert not torch.equal(one, epoch_order(100, seed=1, epoch=1))
    assert not torch.equal(one, epoch_order(100, seed=2, epoch=0))


@given(st.integers(0, 5000), st.integers(1, 64))
def test_parts_are_disjoint_even_and_complete(count: int, world: int) -> None:
    parts = [list(range(count))[share(count, rank, world)] for rank in range(world)]
    assert list(itertools.chain(*parts)) == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


legs = st.lists(st.tuples(st.integers(1, 64), st.integers(1, 150), st.integers(1, 4)), min_size=1, max_size=6)


@settings(max_examples=60)
@given(size=st.integers(1, 300), seed=st.integers(0, 2**31), legs=legs)
def test_no_example_is_lost_or_repeated_when_processes_and_batches_change_on_the_way(
    size: int, seed: int, legs: list[tuple[int, int, int]]
) -> None:
    """Each leg goes on from the stored state with its own number of processes and its own batch size."""
    state, seen, epochs = Cursor(seed).state(), [], 0
    for world, batch, steps in legs:
        cursors = [Cursor(**json.loads(json.dumps(state))) for _ in range(world)]
        for _ in range(steps):
            took = [cursor.take(size, batch, rank, world) for rank, cursor in enumerate(cursors)]
            for rows, _ in took:
                seen += rows.tolist()
            cursors = [cursor for _, cursor in took]
            assert len(set(cursors)) == 1
        state = cursors[0].state()
        assert len(json.dumps(state)) < 200
        epochs = state["epoch"]
    expected = [row for epoch in range(epochs + 1) for row in epoch_order(size, seed, epoch).tolist()]
    assert seen == expected[: len(seen)]
    assert len(seen) == epochs * size + state["consumed"]
