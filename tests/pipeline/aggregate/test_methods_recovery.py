"""Known truth comes back from simulated workers: mean accuracy over twenty seeds, and the stated margins."""

import numpy as np
import pytest

from pipeline.aggregate.methods.convergence import MethodSettings
from pipeline.aggregate.methods.registry import estimate_posterior
from tests.pipeline.aggregate.crowd import crowd

SEEDS = range(20)
MIXED = {"skilled": 10, "careless": 6, "spammer": 6, "adversarial": 4}


def accuracies(methods: tuple[str, ...], settings: MethodSettings | None = None, **world) -> dict[str, float]:
    result: dict[str, list[float]] = {method: [] for method in methods}
    for seed in SEEDS:
        made = crowd(seed, **world)
        for method in methods:
            verdicts = estimate_posterior(made.votes, method, settings).verdicts(min_confidence=0)
            result[method].append(made.accuracy(verdicts))
    return {method: float(np.mean(values)) for method, values in result.items()}


def test_dawid_skene_beats_majority_by_eight_points_on_a_mixed_crowd():
    result = accuracies(("majority", "dawid-skene", "one-coin", "mace"), kinds=MIXED)
    assert result["dawid-skene"] > result["majority"] + 0.08, result
    assert result["one-coin"] > result["majority"] + 0.08, result
    assert result["mace"] > result["majority"] + 0.05, result


def test_dawid_skene_beats_majority_by_eight_points_with_four_classes():
    kinds = {**MIXED, "biased": 6}
    result = accuracies(
        ("majority", "dawid-skene"), MethodSettings(smoothing=0.1), kinds=kinds, items=600, classes=4
    )
    assert result["dawid-skene"] > result["majority"] + 0.08, result


def test_only_a_confusion_matrix_sees_workers_who_mistake_one_class_for_another():
    result = accuracies(
        ("majority", "dawid-skene", "one-coin"), kinds={"skilled": 8, "biased": 12}, items=600, classes=3
    )
    assert result["dawid-skene"] > result["majority"] + 0.05, result
    assert result["dawid-skene"] > result["one-coin"] + 0.03, result


def test_glad_beats_majority_and_dawid_skene_where_items_differ_in_difficulty():
    world = {"kinds": {"skilled": 8, "careless": 22}, "items": 600, "votes_each": 7, "difficulty": True}
    result = accuracies(("majority", "dawid-skene", "glad"), **world)
    assert result["glad"] > result["majority"] + 0.01, result
    assert result["glad"] > result["dawid-skene"], result


@pytest.mark.parametrize("method", ["weighted-majority", "wawa", "zero-based-skill"])
def test_weights_settle_ties(method):
    result = accuracies(("majority", method), kinds={"skilled": 8, "careless": 8, "spammer": 8}, votes_each=4)
    assert result[method] > result["majority"] + 0.05, result
