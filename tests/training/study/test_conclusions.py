"""The sentence on the best method of each color of noise."""

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.study.synthetic_results import synthetic_results, with_a_short_setting
from training.config import METHODS
from training.study.conclusions import best_method_sentences, resolution_sentences, study_sentences
from training.study.results import RESULT
from training.study.summary_tables import comparisons


def results(seeds: int = 3, **accuracy: list[list[float]]) -> pa.Table:
    """A result table: for each method its final accuracies by level (0.2 and 0.4) and seed."""
    [base] = synthetic_results(levels=(0.2,), colors=("red",), methods=("vanilla",), seeds=(0,))[
        0
    ].to_pylist()
    rows: list[dict[str, Any]] = [
        base | {"method": method, "noise_level": level, "seed": seed, "run": f"{method}{level}{seed}",
                "final_accuracy": value}
        for method, levels in accuracy.items()
        for level, values in zip((0.2, 0.4), levels, strict=True)
        for seed, value in enumerate(values[:seeds])
    ]  # fmt: skip
    return RESULT.from_rows(rows)


VANILLA, MIXUP, MENTORMIX = [[0.50, 0.51, 0.52]] * 2, [[0.70, 0.73, 0.71]] * 2, [[0.72, 0.72, 0.72]] * 2


def test_methods_that_do_not_differ_significantly_are_named() -> None:
    [sentence] = best_method_sentences(results(vanilla=VANILLA, mixup=MIXUP, mentormix=MENTORMIX))
    assert sentence.startswith(
        "red noise: mentormix has the highest mean final test accuracy, 72.0 %, over 20 % and 40 %"
    )
    assert "significantly above vanilla and not distinguishable from mixup" in sentence


def test_only_cells_that_all_methods_have_count() -> None:
    """Mixup lacks the level of 40 %, where it would be worse."""
    table = results(vanilla=[[0.6, 0.6, 0.61], [0.1, 0.1, 0.1]], mixup=[[0.5, 0.5, 0.51], []])
    [sentence] = best_method_sentences(table)
    assert (
        "vanilla has the highest mean final test accuracy, 60.3 %, over 20 % wrong labels and 3 seeds"
        in sentence
    )


def test_the_sentence_agrees_with_the_table_of_comparisons() -> None:
    """p of mentormix and mixup is 0.025: below 0.05 among the two pairs of the best method, above it among all three."""
    table = results(
        mentormix=[[0.720, 0.740, 0.760]] * 2,
        mixup=[[0.716, 0.728, 0.759], [0.711, 0.739, 0.752]],
        vanilla=[[0.709, 0.736, 0.739], [0.716, 0.729, 0.752]],
    )
    [sentence] = best_method_sentences(table)
    assert "significantly above vanilla and not distinguishable from mixup" in sentence
    verdicts = {tuple(map(str, line[2:4])): line[9] for line in comparisons(table).rows}
    assert verdicts["vanilla", "mentormix"] == "yes"
    assert verdicts["mixup", "mentormix"] == "no"
    assert "without noise" not in sentence


def test_the_sentence_says_that_the_table_counts_runs_without_noise() -> None:
    red, _ = best_method_sentences(synthetic_results()[0])
    assert "the table of comparisons also counts runs without noise" in red


def test_equal_differences_are_not_called_chance() -> None:
    best, resolution = study_sentences(results(vanilla=[[0.90] * 3] * 2, mixup=[[0.95] * 3] * 2))
    assert best.endswith(
        "it is above vanilla by the same difference in all runs, to which the paired t test does not apply."
    )
    assert resolution == (
        "red noise: the lead of mixup over vanilla (by 5.0 points) is the same in all 6 pairs of runs, so the paired t test, "
        "which needs differences that vary, does not apply."
    )


def test_series_with_equal_runs_have_no_lead() -> None:
    perfect = [[1.0] * 3] * 2
    table = results(vanilla=VANILLA, mixup=perfect, mentormix=perfect)
    [best] = study_sentences(table)
    assert "it is significantly above vanilla and equal to mentormix in all runs (paired t tests" in best
    [best] = study_sentences(results(vanilla=perfect, mixup=perfect))
    assert best.endswith("3 seeds; it is equal to mixup in all runs.")
    verdicts = {tuple(map(str, line[2:4])): line[8:] for line in comparisons(table).rows}
    assert verdicts["mixup", "mentormix"] == (None, None)
    assert verdicts["vanilla", "mixup"][1] == "yes"


def test_series_with_equal_means_have_no_lead() -> None:
    [best] = study_sentences(results(vanilla=[[0.5, 0.6, 0.7]] * 2, mixup=[[0.7, 0.5, 0.6]] * 2))
    assert "not distinguishable from mixup" in best


def test_one_seed_or_one_method_gives_no_sentence() -> None:
    assert best_method_sentences(results(seeds=1, vanilla=VANILLA, mixup=MIXUP)) == []
    assert best_method_sentences(results(vanilla=VANILLA)) == []


def test_a_method_under_a_setting_is_compared_with_methods_under_another() -> None:
    red, _ = best_method_sentences(with_a_short_setting()[0])
    assert "not distinguishable from" in red
    assert {"vanilla", "mentormix (released)", "mentormix (short)"} <= set(
        re.findall(r"mentormix \(\w+\)|vanilla", red)
    )


def test_each_color_and_network_has_its_sentence() -> None:
    table, _ = synthetic_results(networks=("small_cnn", "wide"))
    starts = [sentence.partition(":")[0] for sentence in best_method_sentences(table)]
    assert starts == [
        f"{color} noise ({network})" for network in ("small_cnn", "wide") for color in ("red", "blue")
    ]


def cells(*series: tuple[str, dict[tuple[float, int], float]]) -> pa.Table:
    """A result table: for each method its final accuracy by level and seed."""
    [base] = results(seeds=1, vanilla=[[0.5], []]).to_pylist()
    return RESULT.from_rows(
        base
        | {
            "method": method,
            "noise_level": level,
            "seed": seed,
            "run": f"{method}{level}{seed}",
            "final_accuracy": value,
        }
        for method, by_cell in series
        for (level, seed), value in by_cell.items()
    )


def test_the_number_of_seeds_is_that_of_the_runs_that_all_methods_have() -> None:
    full = {(level, seed): 0.6 + seed / 100 for level in (0.2, 0.4) for seed in range(3)}
    some = {cell: 0.7 + cell[0] / 100 for cell in full if cell != (0.4, 2)}
    [sentence] = best_method_sentences(cells(("vanilla", full), ("mixup", some)))
    assert "over 20 % and 40 % wrong labels and 2 to 3 seeds each; it" in sentence


@pytest.mark.parametrize("finished", [[(0.2, 1)], [(0.2, 0), (0.4, 1)]])
def test_runs_that_have_not_finished_are_not_called_one_seed_per_cell(
    finished: list[tuple[float, int]],
) -> None:
    full = {(level, seed): 0.6 + seed / 100 for level in (0.2, 0.4) for seed in range(3)}
    table = cells(("vanilla", full), ("mixup", dict.fromkeys(finished, 0.7)))
    [sentence] = study_sentences(table)
    assert sentence.startswith(
        "red noise: only one seed per cell has finished with all methods, so the methods cannot be compared"
    )


@given(st.integers(0, 2**32 - 1), st.integers(2, 9), st.integers(1, 3), st.integers(2, 4))
@settings(max_examples=60, deadline=None)
def test_the_difference_that_seeds_show_is_larger_than_each_lead_that_they_do_not_show(
    chance: int, methods: int, levels: int, seeds: int
) -> None:
    rng = np.random.default_rng(chance)
    spread, gain = rng.uniform(0.001, 0.03, methods), rng.uniform(0, 0.05, methods)
    table = cells(
        *(
            (method, {(0.1 * level, seed): 0.6 + gain[i] + spread[i] * rng.standard_normal()
                      for level in range(1, levels + 1) for seed in range(seeds)})
            for i, method in enumerate(METHODS[:methods])
        )
    )  # fmt: skip
    for sentence in resolution_sentences(table):
        unclear, found, rest = sentence.partition(" pairs of runs (level and seed) whose")
        if found and "too few seeds" in unclear:
            shown = re.search(r"show (?:differences from ([\d.]+) points on|no difference) \(", rest)
            assert shown
            assert max(map(float, re.findall(r"by ([\d.]+) points", unclear))) <= float(shown[1] or 100)
            assert float(shown[1] or 100) <= 100


def test_two_seeds_of_many_methods_show_no_difference() -> None:
    """The t test would need a difference of more than 100 points."""
    methods = {method: [[0.6 + i / 1000, 0.6 + i / 500], []] for i, method in enumerate(METHODS[:10])}
    [sentence] = resolution_sentences(results(**methods))
    assert re.search(
        r"up to [\d.]+ points show no difference \(paired t test, .* for 45 comparisons\)", sentence
    )
