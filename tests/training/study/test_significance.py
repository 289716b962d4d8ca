"""Intervals, tests and correlations against published values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from training.study.significance import compare, correlation, holm, mean_interval

# Student's sleep data (Biometrika 6, 1908): hours gained with two drugs by the same ten patients
FIRST = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SECOND = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def test_students_sleep_data_give_the_published_p_and_interval() -> None:
    """R's t.test(sleep): p = 0.002833, 95 % interval −2.4598858 to −0.7001142."""
    values = {"first": dict(enumerate(FIRST)), "second": dict(enumerate(SECOND))}
    [result] = compare(values)
    assert result.p == pytest.approx(0.002833, abs=5e-7)
    assert (result.difference.low, result.difference.high) == pytest.approx((-2.4598858, -0.7001142))
    assert result.is_significant


def test_three_seeds_use_the_t_quantile_of_two_degrees_of_freedom() -> None:
    """4.303 in every printed table."""
    result = mean_interval([0.1, 0.2, 0.3])
    assert result.half == pytest.approx(4.303 * 0.1 / 3**0.5, abs=1e-4)
    assert str(result) == "20.0 ± 24.8"
    assert str(mean_interval([0.5])) == "50.0"
    assert mean_interval([0.5]).low is None


def test_holm_gives_the_values_of_r() -> None:
    """R's multtest, mt.rawp2adjp(proc = "Holm"), which is what the tests of statsmodels compare multipletests with."""
    p_values = [0.001, 0.002, 0.003, 0.004, 0.005, 0.05, 0.06, 0.07, 0.08, 0.09]
    expected = [0.01, 0.018, 0.024, 0.028, 0.03, *[0.25] * 5]
    assert holm(p_values) == pytest.approx(expected)
    assert holm(p_values[::-1]) == pytest.approx(expected[::-1])
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
def test_p_is_that_of_a_paired_t_test(differences: list[float]) -> None:
    [result] = compare({"a": dict(enumerate(differences)), "b": dict.fromkeys(range(len(differences)), 0.0)})
    if len(set(differences)) == 1:
        assert result.p is None
    else:
        expected = stats.ttest_rel(differences, [0.0] * len(differences)).pvalue
        assert result.p == pytest.approx(expected, abs=1e-9)


def test_pearsons_r_and_its_interval() -> None:
    """R's cor.test(mtcars$mpg, mtcars$wt): r = -0.8676594, 95 % interval -0.9338264 to -0.7440872."""
    mpg = [21, 21, 22.8, 21.4, 18.7, 18.1, 14.3, 24.4, 22.8, 19.2, 17.8, 16.4, 17.3, 15.2, 10.4, 10.4, 14.7, 32.4, 30.4,
           33.9, 21.5, 15.5, 15.2, 13.3, 19.2, 27.3, 26, 30.4, 15.8, 19.7, 15, 21.4]  # fmt: skip
    weight = [2.62, 2.875, 2.32, 3.215, 3.44, 3.46, 3.57, 3.19, 3.15, 3.44, 3.44, 4.07, 3.73, 3.78, 5.25, 5.424, 5.345,
              2.2, 1.615, 1.835, 2.465, 3.52, 3.435, 3.84, 3.845, 1.935, 2.14, 1.513, 3.17, 2.77, 3.57, 2.78]  # fmt: skip
    result = correlation(mpg, weight)
    assert result
    assert (result.r, result.low, result.high) == pytest.approx(
        (-0.8676594, -0.9338264, -0.7440872), abs=1e-6
    )


def test_too_few_points_have_no_correlation_or_no_interval() -> None:
    assert correlation([1, 2], [1, 2]) is None
    three = correlation([1, 2, 3], [1, 3, 2])
    assert three
    assert (three.r, three.low) == (pytest.approx(0.5), None)


def test_values_that_are_equal_but_for_rounding_have_no_correlation() -> None:
    assert correlation([1, 2, 3, 4], [0.3, 0.1 + 0.2, 0.3, 0.3]) is None


def test_methods_are_compared_over_the_cells_that_both_have() -> None:
    values: dict[str, dict[object, float]] = {
        "a": {0: 1.0, 1: 2.0, 2: 3.0}, "b": {1: 1.0, 2: 2.5}, "c": {2: 0.0}, "d": {7: 1.0},
    }  # fmt: skip
    result = {(c.first, c.second): c for c in compare(values)}
    assert {pair: c.difference.count for pair, c in result.items()} == {
        ("a", "b"): 2, ("a", "c"): 1, ("b", "c"): 1,
    }  # fmt: skip
    assert result["a", "c"].p is None
    assert not result["a", "c"].is_significant


def test_equal_differences_have_no_p() -> None:
    """Two seeds, in both of which one test image of 1,000 differs; the two differences are equal but for rounding."""
    [result] = compare({"a": {0: 0.703, 1: 0.741}, "b": {0: 0.702, 1: 0.740}})
    assert result.p is None
    assert not result.is_significant
