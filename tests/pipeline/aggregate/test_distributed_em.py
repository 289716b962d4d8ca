"""Dawid-Skene in passes over buckets equals the same with all votes in memory."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.aggregate.methods.convergence import ConvergenceMonitor, MethodSettings
from pipeline.aggregate.methods.dawid_skene import dawid_skene
from pipeline.aggregate.methods.distributed_em import (
    DawidSkeneModel,
    ExpectedCounts,
    add_counts,
    expected_counts,
    initial_posterior,
)
from pipeline.aggregate.methods.posterior import UNKNOWN
from pipeline.aggregate.vote_columns import VoteColumns, decode_valid_votes, encode_votes, join_columns
from schemas.valid_vote import VALID_VOTE
from schemas.vote import VOTE
from tests.pipeline.aggregate.crowd import random_votes

BUCKETS = 13


def buckets_of(seed: int) -> list[VoteColumns]:
    """Random votes of yes, no and unsure, in buckets of which some are empty, each with workers of its own."""
    votes = random_votes(seed, items=120, workers=25, classes=2, unsure=True, share=0.15)
    rng = np.random.default_rng(seed)
    of_item = rng.integers(0, BUCKETS - 2, votes.n_items)
    answers = np.array(["yes", "no", "unsure"])[votes.answers]
    parts = []
    for index in range(BUCKETS):
        here = of_item[votes.items] == index
        rows = {
            "image_id": [f"i{item:03d}" for item in votes.items[here]],
            "class_name": ["cat"] * here.sum(),
            "worker_id": [f"w{worker}" for worker in votes.workers[here]],
            "answer": answers[here],
            "seconds": np.float32(rng.random(here.sum())),
        }
        parts.append(encode_votes(VOTE.conform(pa.table(rows), "votes")))
    return parts


def in_passes(
    parts: list[VoteColumns], known: list[np.ndarray], settings: MethodSettings
) -> tuple[np.ndarray, DawidSkeneModel, list[float]]:
    def add(sums: list[tuple[int, ExpectedCounts]]) -> ExpectedCounts:
        """As the runner may: some in one task, in any order, then the others."""
        return add_counts([add_counts(sums[4:][::-1]), add_counts(sums[:4])])[1]

    matrices = [part.matrix() for part in parts]
    names = [part.workers for part in parts]
    first = (initial_posterior(matrix, gold) for matrix, gold in zip(matrices, known, strict=True))
    sums = add([(k, expected_counts(matrices[k], names[k], posterior)) for k, posterior in enumerate(first)])
    monitor = ConvergenceMonitor(sum(len(part.items) for part in parts), settings.tolerance)
    for _ in range(settings.max_iterations):
        model = DawidSkeneModel(sums, settings.smoothing)
        found = [model.posterior(matrices[k], names[k], known[k]) for k in range(BUCKETS)]
        sums = add([(k, expected_counts(matrices[k], names[k], *found[k])) for k in range(BUCKETS)])
        if monitor.update(sums.evidence):
            break
    return np.concatenate([posterior for posterior, _ in found]), model, monitor.history


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("share_of_gold", [0.0, 0.2])
def test_posteriors_skills_and_likelihoods_are_those_of_all_votes_together(seed, smoothing, share_of_gold):
    parts = buckets_of(seed)
    whole = join_columns(parts)
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, whole.questions.num_rows)
    gold = np.where(rng.random(len(truth)) < share_of_gold, truth, UNKNOWN)
    known = np.split(gold, np.cumsum([part.questions.num_rows for part in parts])[:-1])
    settings = MethodSettings(max_iterations=40, smoothing=smoothing)

    posterior, model, history = in_passes(parts, known, settings)

    expected = dawid_skene(whole.matrix(), settings, gold)
    np.testing.assert_allclose(posterior, expected.probabilities, atol=1e-9)
    np.testing.assert_allclose(history, expected.log_likelihood, atol=1e-9)
    assert list(model.skill()) == list(whole.workers)
    np.testing.assert_allclose(list(model.skill().values()), expected.skill, atol=1e-9)


def test_sums_do_not_depend_on_the_order_in_which_buckets_arrive():
    parts = [
        (k, expected_counts(part.matrix(), part.workers, initial_posterior(part.matrix(), np.full(part.questions.num_rows, UNKNOWN))))
        for k, part in enumerate(buckets_of(0))
    ]  # fmt: skip
    _, one = add_counts(parts)
    _, other = add_counts(parts[::-1])
    assert one.counts.tobytes() == other.counts.tobytes()
    assert one.workers.tolist() == other.workers.tolist()


def test_kept_votes_are_read_as_they_were():
    for part in buckets_of(1):
        gold = np.arange(part.questions.num_rows) % 3 - 1
        rows = part.settled(gold)
        assert rows.schema == VALID_VOTE.schema
        if not rows.num_rows:
            continue
        found, known = decode_valid_votes(rows)
        np.testing.assert_array_equal(known, gold)
        assert found.questions.to_pylist() == [
            {"question": k} | row for k, row in enumerate(part.questions.to_pylist())
        ]
        for name in ("workers", "items", "voters", "answers", "seconds", "days"):
            np.testing.assert_array_equal(getattr(found, name), getattr(part, name))
        few, _ = decode_valid_votes(rows.select(["question", "known", "worker_id", "answer"]))
        assert few.matrix().n_items == part.questions.num_rows
        assert few.seconds is None
