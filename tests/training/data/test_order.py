"""The order of examples, and the parts of processes."""

import itertools

import torch
from hypothesis import given
from hypothesis import strategies as st

from training.data.order import epoch_order, process_slice


def test_epoch_order_is_a_permutation_that_depends_on_seed_and_epoch_alone() -> None:
    order = epoch_order(100, seed=1, epoch=0)
    assert sorted(order.tolist()) == list(range(100))
    assert torch.equal(order, epoch_order(100, seed=1, epoch=0))
    assert not torch.equal(order, epoch_order(100, seed=1, epoch=1))
    assert not torch.equal(order, epoch_order(100, seed=2, epoch=0))


@given(st.integers(0, 5000), st.integers(1, 64))
def test_parts_are_disjoint_even_and_complete(count: int, size: int) -> None:
    parts = [list(range(count))[process_slice(count, rank, size)] for rank in range(size)]
    assert list(itertools.chain(*parts)) == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
