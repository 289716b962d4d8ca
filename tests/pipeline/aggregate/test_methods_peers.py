"""The same posteriors as crowd-kit, the real library, on small random votes.

Its Wawa and ZeroBasedSkill do not run with pandas 3; test_methods_papers has plain renderings of them.
"""

import numpy as np
import pandas as pd
import pytest

from pipeline.aggregate.methods.convergence import MethodSettings
from pipeline.aggregate.methods.registry import estimate_posterior
from pipeline.aggregate.methods.vote_matrix import VoteMatrix
from tests.pipeline.aggregate.crowd import random_votes

peers = pytest.importorskip("crowdkit.aggregation")
SEEDS = range(2)
pytestmark = pytest.mark.filterwarnings("ignore")


def frame(votes: VoteMatrix) -> pd.DataFrame:
    return pd.DataFrame({"task": votes.items, "worker": votes.workers, "label": votes.answers.astype(int)})


def probabilities(peer: object, votes: VoteMatrix, *more: object) -> np.ndarray:
    result = peer.fit_predict_proba(frame(votes), *more)  # type: ignore[attr-defined]
    return result.sort_index().reindex(columns=range(votes.classes), fill_value=0.0).to_numpy()


def ours(votes: VoteMatrix, method: str, iterations: int, gold: np.ndarray | None = None) -> np.ndarray:
    return estimate_posterior(
        votes, method, MethodSettings(iterations, tolerance=-np.inf), gold
    ).probabilities


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("iterations", [1, 8])
def test_dawid_skene_after_the_same_number_of_iterations(classes, iterations):
    for seed in SEEDS:
        votes = random_votes(seed, classes=classes)
        peer = peers.DawidSkene(n_iter=iterations, tol=-np.inf)
        result = ours(votes, "dawid-skene", iterations)
        np.testing.assert_allclose(result, probabilities(peer, votes), atol=1e-6)


def test_dawid_skene_where_workers_know_one_answer_only():
    votes = random_votes(7, items=60, workers=12, classes=2, share=0.25)
    answers = np.where(votes.workers < 5, 0, votes.answers)
    votes = VoteMatrix.of(votes.items, votes.workers, answers, 2)
    peer = peers.DawidSkene(n_iter=20, tol=-np.inf)
    np.testing.assert_allclose(ours(votes, "dawid-skene", 20), probabilities(peer, votes), atol=1e-6)


def test_dawid_skene_with_gold_questions():
    for seed in SEEDS:
        votes = random_votes(seed)
        gold = np.full(votes.n_items, -1)
        gold[:5] = [0, 1, 2, 0, 1]
        known = pd.Series(gold[:5], index=pd.RangeIndex(5, name="task"))
        peer = peers.DawidSkene(n_iter=5, tol=-np.inf)
        np.testing.assert_allclose(
            ours(votes, "dawid-skene", 5, gold), probabilities(peer, votes, known), atol=1e-6
        )


def test_one_coin_after_the_same_number_of_iterations():
    for seed in SEEDS:
        votes = random_votes(seed)
        peer = peers.OneCoinDawidSkene(n_iter=4, tol=-np.inf)
        np.testing.assert_allclose(ours(votes, "one-coin", 4), probabilities(peer, votes), atol=1e-6)


def test_mace_where_both_have_converged():
    # crowd-kit mixes up workers and labels unless both first appear in sorted order, hence the order of rows.
    votes = random_votes(1, items=25, workers=6, classes=2, share=0.8)
    rows = frame(votes).sort_values(["worker", "label"])
    assert rows["label"].drop_duplicates().is_monotonic_increasing
    peer = peers.MACE(n_restarts=1, n_iter=120).fit_predict_proba(rows).sort_index()
    np.testing.assert_allclose(ours(votes, "mace", 120), peer[[0, 1]].to_numpy(), atol=1e-4)


def test_glad_where_both_have_converged():
    votes = random_votes(1, items=12, workers=5, classes=2)
    peer = peers.GLAD(n_iter=12, tol=-np.inf, m_step_max_iter=25, m_step_tol=1e-4)
    np.testing.assert_allclose(ours(votes, "glad", 500), probabilities(peer, votes), atol=2e-3)
