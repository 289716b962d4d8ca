"""Dawid-Skene over buckets of votes equals Dawid-Skene with all votes in memory."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.aggregate.methods.convergence import ConvergenceMonitor, MethodSettings
from pipeline.aggregate.methods.dawid_skene import dawid_skene
from pipeline.aggregate.methods.distributed_em import (
    DawidSkeneModel,
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
    """Random votes of yes, no and unsure, in buckets with different workers; some buckets are empty."""
    votes = random_votes(seed, items=120, workers=25, classes=2, unsure=True, share=0.15)
    rng = np.random.default_rng(seed)
    bucket_of_item = rng.integers(0, BUCKETS - 2, votes.n_items)
    answers = np.array(["yes", "no", "unsure"])[votes.answers]
    parts = []
    for index in range(BUCKETS):
        rows = bucket_of_item[votes.items] == index
        columns = {
            "image_id": [f"i{item:03d}" for item in votes.items[rows]],
            "class_name": ["cat"] * rows.sum(),
            "worker_id": [f"w{worker}" for worker in votes.workers[rows]],
            "answer": answers[rows],
            "seconds": np.float32(rng.random(rows.sum())),
        }
        parts.append(encode_votes(VOTE.conform(pa.table(columns), "votes")))
    return parts


def run_by_bucket(
    parts: list[VoteColumns], gold: list[np.ndarray], settings: MethodSettings
) -> tuple[np.ndarray, DawidSkeneModel, list[float]]:
    matrices = [part.matrix() for part in parts]
    names = [part.workers for part in parts]
    first = (initial_posterior(matrix, known) for matrix, known in zip(matrices, gold, strict=True))
    expected = add_counts(
        [expected_counts(matrices[k], names[k], posterior) for k, posterior in enumerate(first)]
    )
    monitor = ConvergenceMonitor(sum(len(part.items) for part in parts), settings.tolerance)
    for _ in range(settings.max_iterations):
        model = DawidSkeneModel(expected, settings.smoothing)
        results = [model.posterior(matrices[k], names[k], gold[k]) for k in range(BUCKETS)]
        expected = add_counts([expected_counts(matrices[k], names[k], *results[k]) for k in range(BUCKETS)])
        if monitor.update(expected.log_likelihood):
            break
    return np.concatenate([posterior for posterior, _ in results]), model, monitor.history


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("share_of_gold", [0.0, 0.2])
def test_posteriors_skills_and_likelihoods_equal_those_of_all_votes_in_memory(seed, smoothing, share_of_gold):
    parts = buckets_of(seed)
    whole = join_columns(parts)
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, whole.questions.num_rows)
    gold = np.where(rng.random(len(truth)) < share_of_gold, truth, UNKNOWN)
    gold_by_bucket = np.split(gold, np.cumsum([part.questions.num_rows for part in parts])[:-1])
    settings = MethodSettings(max_iterations=40, smoothing=smoothing)

    posterior, model, history = run_by_bucket(parts, gold_by_bucket, settings)

    expected = dawid_skene(whole.matrix(), settings, gold)
    np.testing.assert_allclose(posterior, expected.probabilities, atol=1e-9)
    np.testing.assert_allclose(history, expected.log_likelihood, atol=1e-9)
    assert list(model.skill()) == list(whole.workers)
    np.testing.assert_allclose(list(model.skill().values()), expected.skill, atol=1e-9)


def test_stored_votes_are_read_unchanged():
    for part in buckets_of(1):
        gold = np.arange(part.questions.num_rows) % 3 - 1
        rows = part.to_valid_votes(gold)
        assert rows.schema == VALID_VOTE.schema
        if not rows.num_rows:
            continue
        decoded, decoded_gold = decode_valid_votes(rows)
        np.testing.assert_array_equal(decoded_gold, gold)
        assert decoded.questions.to_pylist() == [
            {"question": k} | row for k, row in enumerate(part.questions.to_pylist())
        ]
        for name in ("workers", "items", "voters", "answers", "seconds", "days"):
            np.testing.assert_array_equal(getattr(decoded, name), getattr(part, name))
        few, _ = decode_valid_votes(rows.select(["question", "known", "worker_id", "answer"]))
        assert few.matrix().n_items == part.questions.num_rows
        assert few.seconds is None
