"""Each method beside a plain rendering of its paper: loops over votes, one equation a line, no speed."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import digamma

from pipeline.aggregate.methods.convergence import MethodSettings
from pipeline.aggregate.methods.registry import estimate_posterior
from pipeline.aggregate.methods.vote_matrix import VoteMatrix
from pipeline.aggregate.methods.weighted import agreement_with_others
from tests.pipeline.aggregate.crowd import random_votes

Vote = tuple[int, int, int]
CASES = [(seed, classes, unsure) for seed in range(3) for classes in (2, 4) for unsure in (False, True)]


def listed(votes: VoteMatrix) -> list[Vote]:
    return list(zip(votes.items.tolist(), votes.workers.tolist(), votes.answers.tolist(), strict=True))


def shares(votes: VoteMatrix, weight: list[float]) -> np.ndarray:
    result = np.zeros((votes.n_items, votes.classes))
    for i, w, a in listed(votes):
        if a < votes.classes:
            result[i, a] += weight[w]
        else:
            result[i] += weight[w] / votes.classes
    return result / result.sum(axis=1, keepdims=True)


def agreement(votes: VoteMatrix, probabilities: np.ndarray) -> list[float]:
    agreed, answered = [0.0] * votes.n_workers, [0] * votes.n_workers
    for i, w, a in listed(votes):
        leaders = [
            c for c in range(votes.classes) if math.isclose(probabilities[i, c], max(probabilities[i]))
        ]
        agreed[w] += 1 / len(leaders) if a in leaders else 0
        answered[w] += 1
    return [a / n for a, n in zip(agreed, answered, strict=True)]


@pytest.mark.parametrize("case", CASES)
def test_wawa(case):
    votes = random_votes(case[0], classes=case[1], unsure=case[2])
    expected = shares(votes, agreement(votes, shares(votes, [1.0] * votes.n_workers)))
    np.testing.assert_allclose(estimate_posterior(votes, "wawa").probabilities, expected, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_zero_based_skill(case):
    votes = random_votes(case[0], classes=case[1], unsure=case[2])
    skill = [1 / votes.classes + 1e-5] * votes.n_workers
    rate = 1.0
    for iteration in range(1, 101):
        if iteration % 20 == 0:
            rate *= 0.5
        agreed = agreement(votes, shares(votes, skill))
        skill = [s + rate * (a - s) for s, a in zip(skill, agreed, strict=True)]
    actual = estimate_posterior(votes, "zero-based-skill", MethodSettings(tolerance=-1)).probabilities
    np.testing.assert_allclose(actual, shares(votes, skill), atol=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_weighted_majority_and_agreement_with_the_others(case):
    votes = random_votes(case[0], classes=case[1], unsure=case[2])
    agreed, judged = [0] * votes.n_workers, [0] * votes.n_workers
    for i, w, a in listed(votes):
        others = [b for j, v, b in listed(votes) if j == i and v != w and b < votes.classes]
        tally = sorted(((others.count(c), c) for c in range(votes.classes)), reverse=True)
        if a < votes.classes and tally[0][0] > tally[1][0]:
            judged[w] += 1
            agreed[w] += a == tally[0][1]
    actual = agreement_with_others(votes)
    assert actual[0].tolist() == agreed
    assert actual[1].tolist() == judged
    skill = [(a + 1) / (j + 2) for a, j in zip(agreed, judged, strict=True)]
    weight = [max(0.0, math.log((votes.classes - 1) * p / (1 - p))) for p in skill]
    with np.errstate(invalid="ignore"):
        expected = np.nan_to_num(shares(votes, weight), nan=1 / votes.classes)
    np.testing.assert_allclose(
        estimate_posterior(votes, "weighted-majority").probabilities, expected, atol=1e-12
    )


@pytest.mark.parametrize("case", CASES)
def test_dawid_skene_and_its_likelihood(case):
    votes = random_votes(case[0], classes=case[1], unsure=case[2])
    posterior = shares(votes, [1.0] * votes.n_workers)
    posterior[3] = np.eye(votes.classes)[1]
    gold = np.where(np.arange(votes.n_items) == 3, 1, -1)
    for _ in range(4):
        prior = posterior.mean(axis=0)
        pi = np.full((votes.n_workers, votes.classes, votes.n_answers), 0.0)
        for i, w, a in listed(votes):
            pi[w, :, a] += posterior[i]
        pi = np.maximum(pi + 0.1, 1e-10)
        pi /= pi.sum(axis=2, keepdims=True)
        joint = np.tile(prior, (votes.n_items, 1))
        for i, w, a in listed(votes):
            joint[i] *= pi[w, :, a]
        evidence = joint.sum(axis=1)
        evidence[3] = joint[3, 1]
        posterior = joint / joint.sum(axis=1, keepdims=True)
        posterior[3] = np.eye(votes.classes)[1]
    actual = estimate_posterior(votes, "dawid-skene", MethodSettings(4, -np.inf, 0.1), gold)
    np.testing.assert_allclose(actual.probabilities, posterior, atol=1e-9)
    np.testing.assert_allclose(actual.confusion, pi, atol=1e-9)
    assert actual.log_likelihood[-1] == pytest.approx(np.log(evidence).sum() / len(votes.items))


@pytest.mark.parametrize("case", CASES)
def test_one_coin(case):
    votes = random_votes(case[0], classes=case[1], unsure=case[2])
    posterior = shares(votes, [1.0] * votes.n_workers)
    named = [vote for vote in listed(votes) if vote[2] < votes.classes]
    for _ in range(4):
        prior = posterior.mean(axis=0)
        skill = [
            float(np.mean([posterior[i, a] for i, v, a in named if v == w])) for w in range(votes.n_workers)
        ]
        joint = np.tile(prior, (votes.n_items, 1))
        for i, w, a in named:
            joint[i] *= [
                skill[w] if c == a else (1 - skill[w]) / (votes.classes - 1) for c in range(votes.classes)
            ]
        posterior = joint / joint.sum(axis=1, keepdims=True)
    actual = estimate_posterior(votes, "one-coin", MethodSettings(4, -np.inf))
    np.testing.assert_allclose(actual.probabilities, posterior, atol=1e-9)
    np.testing.assert_allclose(actual.skill, skill, atol=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_mace(case):
    votes = random_votes(case[0], classes=case[1], unsure=case[2])
    theta = np.full((votes.n_workers, 2), 0.5)  # knows, does not
    xi = np.full((votes.n_workers, votes.n_answers), 1 / votes.n_answers)
    for _ in range(6):
        joint = np.full((votes.n_items, votes.classes), 1 / votes.classes)
        for i, w, a in listed(votes):
            joint[i] *= [theta[w, 0] * (a == c) + theta[w, 1] * xi[w, a] for c in range(votes.classes)]
        posterior = joint / joint.sum(axis=1, keepdims=True)
        knows, habit = np.zeros((votes.n_workers, 2)), np.zeros((votes.n_workers, votes.n_answers))
        for i, w, a in listed(votes):
            p = (
                posterior[i, a] * theta[w, 0] / (theta[w, 0] + theta[w, 1] * xi[w, a])
                if a < votes.classes
                else 0.0
            )
            knows[w] += [p, 1 - p]
            habit[w, a] += 1 - p
        theta = np.exp(digamma(knows + 0.5) - digamma((knows + 0.5).sum(axis=1, keepdims=True)))
        xi = np.exp(digamma(habit + 10) - digamma((habit + 10).sum(axis=1, keepdims=True)))
    actual = estimate_posterior(votes, "mace", MethodSettings(6, -np.inf))
    np.testing.assert_allclose(actual.probabilities, posterior, atol=1e-9)
    np.testing.assert_allclose(actual.skill, theta[:, 0] / theta.sum(axis=1), atol=1e-9)


@pytest.mark.parametrize(("seed", "classes", "unsure"), [(0, 2, False), (1, 2, True), (2, 3, False)])
def test_glad(seed, classes, unsure):
    """EM with a full M-step of a general optimizer ends where ours does."""
    votes = random_votes(seed, items=15, workers=5, classes=classes, unsure=unsure)
    named = [vote for vote in listed(votes) if vote[2] < classes]
    x = np.ones(votes.n_workers + votes.n_items)  # α, then log β

    def sigma(x: np.ndarray, w: int, i: int) -> float:
        return 1 / (1 + math.exp(-x[w] * math.exp(x[votes.n_workers + i])))

    def minus_q(x: np.ndarray) -> float:
        q = -0.5 * ((x - 1) ** 2).sum()
        for i, w, a in named:
            right, s = posterior[i, a], sigma(x, w, i)
            q += right * math.log(s) + (1 - right) * math.log((1 - s) / (classes - 1))
        return -q

    for _ in range(80):
        joint = np.full((votes.n_items, classes), 1 / classes)
        for i, w, a in named:
            s = sigma(x, w, i)
            joint[i] *= [s if c == a else (1 - s) / (classes - 1) for c in range(classes)]
        posterior = joint / joint.sum(axis=1, keepdims=True)
        x = minimize(minus_q, x, method="L-BFGS-B").x
    actual = estimate_posterior(votes, "glad", MethodSettings(2000, 1e-12))
    assert actual.converged
    np.testing.assert_allclose(actual.probabilities, posterior, atol=1e-3)
    np.testing.assert_allclose(actual.difficulty, np.exp(-x[votes.n_workers :]), rtol=2e-2)
    assert all(np.diff(actual.log_likelihood) >= 0)
