"""Each accuracy has the interval that its runs allow, and captions promise no other."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.training.study.synthetic_results import synthetic_results
from training.study.conclusions import resolution_sentences, run_sentence
from training.study.estimates import accuracy_estimate
from training.study.figure_captions import CAPTIONS
from training.study.plot_panels import FigureData
from training.study.power import independent_disagreement, power_of_images
from training.study.results import RESULT
from training.study.series import with_series
from training.study.summary_tables import all_tables, comparisons, finished, grouped


def made(images: int | None, **axes: Any) -> tuple[pa.Table, pa.Table]:
    results, curves = synthetic_results(**axes)
    return RESULT.from_rows(row | {"test_images": images} for row in results.to_pylist()), curves


def captions(images: int | None, seeds: tuple[int, ...]) -> str:
    """The notes of all tables and the captions of all figures."""
    results, curves = made(images, seeds=seeds)
    data = FigureData(with_series(finished(results)), dict(grouped(curves.to_pylist(), "run")))
    notes = [table.note for table in all_tables(results)]
    return "\n".join([*notes, *(caption(data) for _, caption in CAPTIONS.values())])


def test_one_seed_has_the_interval_of_the_test_images_and_several_that_of_the_seeds() -> None:
    one = accuracy_estimate([{"a": 0.7, "test_images": 1000}], "a")
    assert str(one) == "70.0 [67.1, 72.8]"
    assert str(accuracy_estimate([{"a": 0.7}], "a")) == "70.0"
    several = accuracy_estimate([{"a": 0.69, "test_images": 9}, {"a": 0.71, "test_images": 9}], "a")
    assert str(several) == "70.0 ± 12.7"
    assert accuracy_estimate([{"a": None}], "a") is None


@pytest.mark.parametrize(("accuracy", "seeds"), [(0.9, 2), (0.9, 3), (0.98, 2)])
def test_the_interval_of_few_seeds_on_few_images_holds_the_accuracy_as_often_as_it_says(
    accuracy: float, seeds: int
) -> None:
    """Accuracies are multiples of 1/100, so two seeds are often equal."""
    rng, images, trials = np.random.default_rng(0), 100, 1000
    drawn = np.round((accuracy + 0.01 * rng.standard_normal((trials, seeds))) * images) / images
    found = [
        accuracy_estimate([{"a": a, "test_images": images} for a in row], "a") for row in drawn.clip(0, 1)
    ]
    held = [
        one.low <= 100 * accuracy <= one.high for one in found if one and one.low is not None and one.high
    ]
    assert sum(held) >= 0.93 * trials


@pytest.mark.parametrize("name", ["final_accuracy", "best_accuracy", "selected_accuracy"])
@pytest.mark.parametrize("images", [100, None])
def test_the_note_of_a_table_explains_the_intervals_of_all_of_its_columns(
    name: str, images: int | None
) -> None:
    """Seeds may be equal in one column alone."""
    results, _ = made(images, seeds=(0, 1))
    accuracies = ("final_accuracy", "best_accuracy", "selected_accuracy")
    vary = RESULT.from_rows(
        row | {key: 0.5 + row["seed"] / 10 if key != name else 0.5 for key in accuracies}
        for row in results.to_pylist()
    )
    expected = "Wilson" if images else "no interval"
    assert [expected in table.note for table in all_tables(vary) if table.name == "cells"] == [True]


def test_equal_seeds_have_the_interval_of_the_test_images() -> None:
    rows = [{"a": 1.0, "test_images": 100}] * 3
    assert str(accuracy_estimate(rows, "a")) == "100.0 [96.3, 100.0]"
    assert str(accuracy_estimate([{"a": 0.3}, {"a": 0.1 + 0.2}], "a")) == "30.0"


def test_equal_differences_have_no_interval() -> None:
    results, _ = made(100, methods=("vanilla", "mixup"), levels=(0.4,), colors=("red",))
    rows = [r | {"final_accuracy": 0.9 if r["method"] == "mixup" else 0.8} for r in results.to_pylist()]
    [line] = comparisons(RESULT.from_rows(rows)).rows
    assert line[4] == 3
    assert line[5] == pytest.approx(-10)
    assert line[6:] == (None, None, None, None)


def test_captions_of_equal_seeds_promise_no_interval_over_seeds() -> None:
    results, curves = made(1000, seeds=(0, 1))
    rows = [row | {"final_accuracy": 0.9} for row in results.to_pylist()]
    data = FigureData(with_series(rows), dict(grouped(curves.to_pylist(), "run")))
    _, caption = CAPTIONS["accuracy"]
    assert "over the seeds" not in caption(data)
    assert "the 95 % interval of the 1,000 test images" in caption(data)


def test_captions_of_one_seed_promise_no_interval_over_seeds() -> None:
    text = captions(1000, (0,))
    assert "over the seeds" not in text
    assert "interval of the test images (Wilson), which does not contain the variation between seeds" in text
    assert "the 95 % interval of the 1,000 test images" in text
    unknown = captions(None, (0,))
    assert "over the seeds" not in unknown
    assert "no interval" in unknown
    several = captions(1000, (0, 1))
    assert "95 % interval over the seeds (Student's t)" in several
    assert "Wilson" not in several


def test_a_study_that_is_too_small_says_what_it_could_show() -> None:
    [first, _] = resolution_sentences(made(1000, seeds=(0,))[0])
    assert first.startswith("red noise: one seed per cell, so the methods cannot be compared")
    assert "1,000 test images show differences from 5." in first
    close, _ = made(1000, methods=("vanilla", "mixup"), levels=(0.2,), colors=("red",))
    [sentence] = resolution_sentences(close)
    assert sentence.startswith(
        "red noise: the lead of mixup over vanilla (by 1.9 points) holds for these test images"
    )
    assert "1,000 test images show differences from 5." in sentence
    level, gain = 0.7, iter((0.03, 0.03, -0.02))
    rows = [
        row | {"final_accuracy": level + (next(gain) if row["method"] == "mixup" else 0)}
        for row in close.to_pylist()
    ]
    [sentence] = resolution_sentences(RESULT.from_rows(rows))
    assert sentence.startswith(
        "red noise: too few seeds to place mixup above vanilla (by 1.3 points). 3 pairs of runs"
    )
    assert "differences vary by 2.9 points" in sentence


def test_a_study_that_is_large_enough_says_nothing() -> None:
    large, _ = made(1_000_000, methods=("vanilla", "mentormix"), levels=(0.4, 0.8), colors=("blue",))
    assert resolution_sentences(large) == []


def test_the_difference_of_the_sentence_has_the_power_that_it_names() -> None:
    assert "Differences below 5.9 points" in run_sentence(0.7, 1000)
    assert power_of_images(1000, 0.0589, independent_disagreement(0.7, 0.0589)) == pytest.approx(
        0.8, abs=0.01
    )


def test_the_sentence_names_a_difference_at_high_accuracy_and_none_for_few_images() -> None:
    assert "Differences below 7.7 points between two runs may be chance" in run_sentence(1.0, 100)
    assert "Differences below 9.2 points" in run_sentence(0.99, 100)
    assert "They are too few to show a difference between two runs" in run_sentence(1.0, 3)


@pytest.mark.parametrize(("images", "shown"), [(100, "differences from 7.7 points on"), (3, "no difference")])
def test_a_small_lead_at_100_percent_is_cautioned(images: int, shown: str) -> None:
    rows = made(images, methods=("vanilla", "mixup"), levels=(0.4,), colors=("red",))[0].to_pylist()
    for row in rows:
        row["final_accuracy"] = 1.0 if row["method"] == "mixup" else 0.98 + 0.002 * row["seed"]
    [sentence] = resolution_sentences(RESULT.from_rows(rows))
    assert sentence.startswith(
        "red noise: the lead of mixup over vanilla (by 1.8 points) holds for these test images"
    )
    assert f"In a single cell, {images} test images show {shown} (McNemar's test" in sentence
