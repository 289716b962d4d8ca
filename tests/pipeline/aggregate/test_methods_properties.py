"""What must hold for all votes: no order, no name decides; nothing underflows; gold is kept."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.aggregate.methods.convergence import MethodSettings
from pipeline.aggregate.methods.posterior import UNDECIDED
from pipeline.aggregate.methods.registry import METHODS, estimate_posterior
from pipeline.aggregate.methods.vote_matrix import VoteMatrix
from tests.pipeline.aggregate.crowd import random_votes

ITERATIVE = ("dawid-skene", "one-coin", "glad", "mace", "zero-based-skill")
FEW = MethodSettings(max_iterations=15, tolerance=-np.inf)
cases = st.tuples(st.integers(0, 10**6), st.integers(2, 4), st.booleans())


def remade(votes: VoteMatrix, order=slice(None), items=None, workers=None, answers=None) -> VoteMatrix:
    return VoteMatrix.of(
        (votes.items if items is None else items[votes.items])[order],
        (votes.workers if workers is None else workers[votes.workers])[order],
        (votes.answers if answers is None else answers[votes.answers])[order],
        votes.classes,
        votes.n_answers,
        votes.n_items,
        votes.n_workers,
    )


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=15, deadline=None)
@given(case=cases)
def test_the_order_of_rows_changes_no_bit(method, case):
    votes = random_votes(case[0], classes=case[1], unsure=case[2])
    mixed = remade(votes, np.random.default_rng(case[0]).permutation(len(votes.items)))
    one, other = estimate_posterior(votes, method, FEW), estimate_posterior(mixed, method, FEW)
    assert one.probabilities.tobytes() == other.probabilities.tobytes()
    assert one.skill.tobytes() == other.skill.tobytes()


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=15, deadline=None)
@given(case=cases)
def test_names_of_items_workers_and_classes_decide_nothing(method, case):
    votes = random_votes(case[0], classes=case[1], unsure=case[2])
    rng = np.random.default_rng(case[0])
    items, workers = rng.permutation(votes.n_items), rng.permutation(votes.n_workers)
    classes = rng.permutation(votes.classes)
    answers = np.append(classes, votes.classes)
    one = estimate_posterior(votes, method, FEW)
    other = estimate_posterior(remade(votes, items=items, workers=workers, answers=answers), method, FEW)
    np.testing.assert_allclose(one.probabilities, other.probabilities[items][:, classes], atol=1e-7)
    np.testing.assert_allclose(one.skill, other.skill[workers], atol=1e-7)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=10, deadline=None)
@given(case=cases)
def test_rows_are_distributions_and_gold_stands(method, case):
    votes = random_votes(case[0], classes=case[1], unsure=case[2])
    gold = np.full(votes.n_items, -1)
    gold[:4] = [0, 1, 1, 0]
    result = estimate_posterior(votes, method, FEW, gold)
    assert np.isfinite(result.probabilities).all()
    np.testing.assert_allclose(result.probabilities.sum(axis=1), 1)
    np.testing.assert_array_equal(result.verdicts()[:4], gold[:4])


@pytest.mark.parametrize("method", METHODS)
def test_thousands_of_votes_on_one_item_do_not_underflow(method):
    rng = np.random.default_rng(0)
    n = 5000
    truth = np.array([0, 1, 1, 0])
    items, workers = np.repeat(np.arange(4), n), np.tile(np.arange(n), 4)
    answers = np.where(rng.random(4 * n) < 0.55, truth[items], 1 - truth[items])
    result = estimate_posterior(VoteMatrix.of(items, workers, answers, 2), method, MethodSettings(20))
    assert np.isfinite(result.probabilities).all()
    np.testing.assert_array_equal(result.verdicts(), truth)


@pytest.mark.parametrize("method", ["dawid-skene", "one-coin", "glad"])
@settings(max_examples=10, deadline=None)
@given(case=cases)
def test_the_likelihood_never_falls(method, case):
    votes = random_votes(case[0], classes=case[1], unsure=case[2])
    result = estimate_posterior(votes, method, MethodSettings(60, -np.inf))
    assert min(np.diff(result.log_likelihood)) > -1e-9


@pytest.mark.parametrize("method", ITERATIVE)
def test_iterations_end_by_the_tolerance_or_say_that_they_did_not(method):
    votes = random_votes(3, items=200, workers=15)
    result = estimate_posterior(votes, method, MethodSettings(2000, 1e-7))
    assert result.converged
    assert len(result.log_likelihood) < 2000
    assert not estimate_posterior(votes, method, MethodSettings(2, 1e-12)).converged


@pytest.mark.parametrize("method", METHODS)
def test_a_tie_among_equals_is_undecided(method):
    votes = VoteMatrix.of(np.array([0, 0]), np.array([0, 1]), np.array([0, 1]), 2)
    assert estimate_posterior(votes, method).verdicts().tolist() == [UNDECIDED]


@pytest.mark.parametrize("method", METHODS)
def test_items_without_votes_and_unsure_votes_alone_are_undecided(method):
    votes = VoteMatrix.of(np.array([0]), np.array([0]), np.array([2]), 2, n_answers=3, n_items=2)
    result = estimate_posterior(votes, method)
    np.testing.assert_allclose(result.probabilities, 0.5)
    assert result.verdicts().tolist() == [UNDECIDED, UNDECIDED]


@pytest.mark.parametrize("method", METHODS)
def test_no_votes_at_all(method):
    empty = np.empty(0, np.int64)
    votes = VoteMatrix.of(empty, empty, empty, 2)
    assert estimate_posterior(votes, method).probabilities.shape == (0, 2)


def test_unsure_tells_the_class_where_a_worker_is_unsure_of_one_class_alone():
    """Worker 0 says unsure exactly where the answer is no; the others answer at 80 %."""
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 2, 600)
    others = np.where(rng.random((4, 600)) < 0.8, truth, 1 - truth)
    items, workers = np.tile(np.arange(600), 5), np.repeat(np.arange(5), 600)
    answers = np.concatenate([np.where(truth == 0, 2, 1), others.ravel()])
    votes = VoteMatrix.of(items, workers, answers, 2, n_answers=3)
    assert (estimate_posterior(votes, "dawid-skene").verdicts() == truth).mean() > 0.99
    assert (estimate_posterior(votes, "one-coin").verdicts() == truth).mean() < 0.97


@pytest.mark.parametrize(
    ("wrong", "reported"),
    [
        ({"method": "best"}, "unknown method 'best'; use one of"),
        ({"method": "glad", "gold": np.zeros(2, int)}, "each of 30 items"),
        ({"method": "glad", "gold": np.full(30, 3)}, "class below 3"),
    ],
)
def test_wrong_arguments_are_reported(wrong, reported):
    with pytest.raises(ValueError, match=reported):
        estimate_posterior(random_votes(0), **wrong)


def test_codes_out_of_range_are_reported():
    one = np.array([1])
    with pytest.raises(ValueError, match="answers must be codes from 0 to 1, got 2 to 2"):
        VoteMatrix.of(one, one, np.array([2]), 2)
    with pytest.raises(ValueError, match="got 1 items and 2 workers"):
        VoteMatrix.of(one, np.array([0, 1]), one, 2)
    with pytest.raises(ValueError, match="classes must be 2 or more"):
        VoteMatrix.of(one, one, one, 1)
