"""Intervals, tests and correlations against published values, and scipy's own."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from training.study.inference import compare, correlation, holm, interval, paired_p

# Student's sleep data (Biometrika 6, 1908): hours gained with two drugs by the same ten patients
FIRST = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SECOND = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def test_students_sleep_data_give_the_published_test_and_interval() -> None:
    """R's t.test(sleep): p = 0.002833, 95 % interval −2.4598858 to −0.7001142."""
    values = {"first": dict(enumerate(FIRST)), "second": dict(enumerate(SECOND))}
    [found] = compare(values)
    assert found.p == pytest.approx(0.002833, abs=5e-7)
    assert (found.difference.low, found.difference.high) == pytest.approx((-2.4598858, -0.7001142))
    assert found.told_apart


def test_three_seeds_take_the_quantile_of_two_degrees_of_freedom() -> None:
    """4.303 in every printed table."""
    found = interval([0.1, 0.2, 0.3])
    assert found.half == pytest.approx(4.303 * 0.1 / 3**0.5, abs=1e-4)
    assert str(found) == "20.0 ± 24.8"
    assert str(interval([0.5])) == "50.0"
    assert interval([0.5]).low is None


def test_holm_adjusts_as_in_the_textbook_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_lies_between_no_correction_and_bonferroni(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= a <= min(1, len(p_values) * p) + 1e-12 for p, a in zip(p_values, adjusted, strict=True))
    assert sorted(zip(p_values, adjusted, strict=True)) == sorted(
        zip(sorted(p_values), sorted(adjusted), strict=True)
    )


numbers = st.lists(st.floats(-10, 10).map(lambda x: round(x, 3)), min_size=4, max_size=20)


@given(numbers)
def test_a_paired_test_is_scipys(differences: list[float]) -> None:
    spread = len(set(differences)) > 1
    expected = stats.ttest_1samp(differences, 0.0).pvalue if spread else (0.0 if any(differences) else None)
    assert paired_p(differences) == (None if expected is None else pytest.approx(expected, abs=1e-9))


@pytest.mark.parametrize("count", [4, 7, 30])
def test_a_correlation_is_scipys(count: int) -> None:
    chance = random.Random(count)
    x = [chance.gauss(0, 1) for _ in range(count)]
    y = [value + chance.gauss(0, 1) for value in x]
    found, expected = correlation(x, y), stats.pearsonr(x, y)
    assert found
    assert found.r == pytest.approx(expected.statistic)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()))


def test_too_few_points_have_no_correlation_or_no_interval() -> None:
    assert correlation([1, 2], [1, 2]) is None
    three = correlation([1, 2, 3], [1, 3, 2])
    assert three
    assert (three.r, three.low) == (pytest.approx(0.5), None)


def test_methods_are_compared_over_the_cells_that_both_have() -> None:
    values: dict[str, dict[object, float]] = {
        "a": {0: 1.0, 1: 2.0, 2: 3.0}, "b": {1: 1.0, 2: 2.5}, "c": {2: 0.0}, "d": {7: 1.0},
    }  # fmt: skip
    found = {(c.one, c.other): c for c in compare(values)}
    assert {pair: c.difference.count for pair, c in found.items()} == {
        ("a", "b"): 2, ("a", "c"): 1, ("b", "c"): 1,
    }  # fmt: skip
    assert found["a", "c"].p is None
    assert not found["a", "c"].told_apart
    assert {c.other for c in compare(values, against="b")} == {"a", "c"}
