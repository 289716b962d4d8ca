"""Power: published values, and simulation within its Monte Carlo error."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.training.study.synthetic_results import synthetic_results
from training.__main__ import main
from training.study import power
from training.study import results as study_results

TRIALS = 20_000


def within(simulated: float, predicted: float, trials: int = TRIALS) -> bool:
    """Whether a simulated share is within four standard errors of the predicted one."""
    return abs(simulated - predicted) <= 4 * math.sqrt(predicted * (1 - predicted) / trials) + 1e-9


def test_wilsons_interval_has_the_published_ends() -> None:
    """Newcombe, Statistics in Medicine 17, 1998, table I, method 3: 81/263, 15/148, 0/20 and 1/29."""
    published = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0.0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    for (part, whole), ends in published.items():
        assert power.wilson(part / whole, whole) == pytest.approx(ends, abs=5e-5)


def test_wilsons_interval_covers_the_true_accuracy_in_95_of_100_cases() -> None:
    """The mean coverage over accuracies, summed exactly over the binomial distribution."""
    n = 200
    ends = np.array([power.wilson(k / n, n) for k in range(n + 1)])
    shares = np.linspace(0.05, 0.95, 181)
    covered = [
        stats.binom.pmf(np.arange(n + 1), n, p)[(ends[:, 0] <= p) & (p <= ends[:, 1])].sum() for p in shares
    ]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.004)
    assert min(covered) > 0.92


@pytest.mark.parametrize(
    ("images", "difference", "disagreement"), [(1000, 0.02, 0.1), (500, 0.05, 0.42), (300, 0.0, 0.2)]
)
def test_the_power_of_mcnemars_test_is_that_of_a_simulation(
    images: int, difference: float, disagreement: float
) -> None:
    rng = np.random.default_rng(1)
    shares = [(disagreement + difference) / 2, (disagreement - difference) / 2, 1 - disagreement]
    first, second, _ = rng.multinomial(images, shares, TRIALS).T
    z = np.abs(first - second) / np.sqrt(np.maximum(first + second, 1))
    simulated = float((z >= stats.norm.ppf(0.975)).mean())
    assert within(simulated, power.power_of_images(images, difference, disagreement))


@given(st.floats(0.005, 0.05), st.floats(0.1, 0.6), st.sampled_from([0.5, 0.8, 0.9]))
def test_the_images_needed_have_the_power_that_was_asked_for(
    difference: float, disagreement: float, target: float
) -> None:
    """Connor's approximation is within three points of the exact power."""
    images = power.images_needed(difference, disagreement, target)
    assert power.power_of_images(images, difference, disagreement) == pytest.approx(target, abs=0.03)
    assert power.smallest_of_images(images, 0.7, disagreement, target) == pytest.approx(difference, rel=0.02)


@given(st.floats(0, 1), st.integers(1, 100_000), st.sampled_from([0.06, 0.5, 0.8, 0.95]))
def test_the_smallest_difference_needs_the_test_images_that_it_was_computed_for(
    accuracy: float, images: int, target: float
) -> None:
    """With the disagreement of independent errors at this difference, also where one network is always right."""
    smallest = power.smallest_of_images(images, accuracy, power=target)
    if smallest is None:
        assert images < 50
        return
    needed = power.images_needed(smallest, power.independent_disagreement(accuracy, smallest), target)
    assert needed == pytest.approx(images, abs=1, rel=1e-4)


@pytest.mark.parametrize(
    ("accuracy", "images", "points"), [(1.0, 100, 7.7), (0.99, 100, 9.2), (0.01, 100, 9.2), (0.7, 1000, 5.9)]
)
def test_the_smallest_difference_at_high_accuracy_has_at_least_the_power_that_was_asked_for(
    accuracy: float, images: int, points: float
) -> None:
    smallest = power.smallest_of_images(images, accuracy)
    assert smallest is not None
    assert round(100 * smallest, 1) == points
    disagreement = power.independent_disagreement(accuracy, smallest)
    assert 0.79 <= power.power_of_images(images, smallest, disagreement) <= 0.96


def test_the_disagreement_of_independent_errors_is_that_of_a_simulation() -> None:
    rng = np.random.default_rng(6)
    first, second = (rng.random(TRIALS) < share for share in (0.9, 0.7))
    assert within(float((first != second).mean()), power.independent_disagreement(0.9, 0.2))
    assert power.independent_disagreement(0.4, 0.1) == pytest.approx(0.5)
    assert all(power.independent_disagreement(1.0, k / 100) == k / 100 for k in range(101))
    with pytest.raises(ValueError, match=r"from 0\.9 by 0\.95; give a difference from 0 to 0\.9"):
        power.independent_disagreement(0.9, 0.95)


@pytest.mark.parametrize(
    ("seeds", "effect"), [(3, 2.0), (5, 1.0), (10, 1.0), (3, 0.0), (2, 6.0), (2, 8.0), (3, 5.0)]
)
def test_the_power_of_the_paired_t_test_is_that_of_a_simulation(seeds: int, effect: float) -> None:
    rng = np.random.default_rng(2)
    differences = rng.normal(effect, 1.0, (TRIALS, seeds))
    simulated = float((stats.ttest_1samp(differences, 0.0, axis=1).pvalue < 0.05).mean())
    assert within(simulated, power.power_of_seeds(seeds, effect, 1.0))


@pytest.mark.parametrize(
    ("seeds", "comparisons", "effect"), [(3, 10, 10.0), (2, 78, 2000.0), (2, 78, 400.0), (6, 78, 4.0)]
)
def test_the_power_at_a_corrected_level_is_that_of_a_simulation(
    seeds: int, comparisons: int, effect: float
) -> None:
    rng = np.random.default_rng(3)
    differences = rng.normal(effect, 1.0, (TRIALS, seeds))
    found = stats.ttest_1samp(differences, 0.0, axis=1).pvalue < 0.05 / comparisons
    assert within(float(found.mean()), power.power_of_seeds(seeds, effect, 1.0, comparisons))


@pytest.mark.parametrize("comparisons", [1, 6, 78])
@pytest.mark.parametrize("pairs", [2, 3, 30])
def test_the_smallest_difference_at_a_corrected_level_has_the_power(pairs: int, comparisons: int) -> None:
    smallest = power.smallest_of_seeds(pairs, 0.01, comparisons=comparisons)
    assert smallest is not None
    assert power.power_of_seeds(pairs, smallest, 0.01, comparisons) == pytest.approx(0.8, abs=1e-3)


@pytest.mark.parametrize("pairs", [2, 3, 5, 50, 10_000])
def test_the_power_of_the_paired_t_test_is_that_of_quadrature(pairs: int) -> None:
    """The mean over the estimated deviation c of P(|z + shift| > critical · c), at equally likely values of c."""
    degrees = pairs - 1
    c = np.sqrt(stats.chi2.ppf((np.arange(2000) + 0.5) / 2000, degrees) / degrees)
    critical = stats.t.ppf(0.975, degrees)
    last = 0.0
    for shift in [*np.arange(0, 50, 0.7), 1e3, 1e9, 1e300]:
        expected = np.mean(stats.norm.sf(critical * c - shift) + stats.norm.cdf(-critical * c - shift))
        found = power.power_of_seeds(pairs, shift / math.sqrt(pairs), 1.0)
        assert found == pytest.approx(expected, abs=1e-3), shift
        assert found >= last - 1e-9
        last = found


@pytest.mark.parametrize("pairs", [2, 3, 4])
def test_the_smallest_difference_of_few_seeds_has_the_power_that_was_asked_for(pairs: int) -> None:
    rng = np.random.default_rng(5)
    smallest = power.smallest_of_seeds(pairs, 0.01)
    assert smallest is not None
    p = stats.ttest_1samp(rng.normal(smallest, 0.01, (TRIALS, pairs)), 0.0, axis=1).pvalue
    assert within(float((p < 0.05).mean()), 0.8)


def test_the_number_of_seeds_is_the_published_one() -> None:
    """Cohen's d of 0.5 at 80 %: 34 pairs (G*Power 3.1, matched pairs); d of 1: 10 pairs; d of 0.2: 199 pairs."""
    assert [power.seeds_needed(d, 1.0) for d in (0.2, 0.5, 1.0)] == [199, 34, 10]
    assert power.smallest_of_seeds(34, 1.0) == pytest.approx(0.4945, abs=0.002)
    assert power.smallest_of_seeds(1, 1.0) is None
    for function in (power.smallest_of_seeds, lambda seeds, zero: power.power_of_seeds(seeds, 0.1, zero)):
        with pytest.raises(ValueError, match="must be above 0, got 0"):
            function(3, 0.0)


def test_the_interval_of_a_noise_level_covers_it_in_95_of_100_simulations() -> None:
    rng = np.random.default_rng(3)
    level, accuracy, votes, half_width = 0.35, 0.85, 3, 0.03
    error = power.majority_error(votes, accuracy)
    images = power.images_for_noise(half_width, level, error)
    wrong = rng.random((2000, images)) < level
    says_wrong = (rng.random((votes, 2000, images)) < accuracy) == wrong
    share = (says_wrong.sum(axis=0) > votes / 2).mean(axis=1)
    estimate = (share - error) / (1 - 2 * error)
    assert within(float((abs(estimate - level) <= half_width).mean()), 0.95, 2000)


def test_agreement_gives_the_accuracy_of_simulated_voters() -> None:
    rng = np.random.default_rng(4)
    right = rng.random((2, 200_000)) < 0.85
    assert power.voter_accuracy(float((right[0] == right[1]).mean())) == pytest.approx(0.85, abs=0.005)
    with pytest.raises(ValueError, match=r"from 0\.5"):
        power.voter_accuracy(0.4)
    with pytest.raises(ValueError, match="must be odd, got 4"):
        power.majority_error(4, 0.9)
    with pytest.raises(ValueError, match="no more than chance"):
        power.images_for_noise(0.02, 0.4, power.majority_error(3, 0.5))


def test_the_verb_takes_what_is_missing_from_a_study(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path_factory.mktemp("study")
    study_results.write(synthetic_results(), folder)
    assert main(["power", "--study", str(folder), "--difference", "0.02", "--seeds", "3", "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)
    assert answers["seeds"]["deviation"] == pytest.approx(
        0.008, abs=0.003
    )  # √2 · 0.006, as the results are made
    assert answers["seeds"]["seeds_needed"] >= 3
    assert answers["test_images"]["images_needed"] > 1000
    assert main(["power", "--agreement", "0.9", "--votes", "3"]) == 0
    assert "fewest votes: " in capsys.readouterr().out


@pytest.mark.parametrize(("vanilla", "mixup"), [(0.9, 0.95), (1.0, 1.0)])
def test_a_study_whose_differences_are_equal_gives_no_deviation(
    vanilla: float, mixup: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, curves = synthetic_results(levels=(0.4,), colors=("red",), methods=("vanilla", "mixup"))
    rows = [
        row | {"test_images": 100, "final_accuracy": {"vanilla": vanilla, "mixup": mixup}[row["method"]]}
        for row in table.to_pylist()
    ]
    study_results.write((study_results.RESULT.from_rows(rows), curves), tmp_path)
    call = ["power", "--study", str(tmp_path), "--difference", "0.02", "--seeds", "3"]
    assert main(call) == 2
    assert "the differences of methods do not vary over the seeds" in capsys.readouterr().err
    assert main([*call, "--deviation", "0.01"]) == 0
    assert "a difference of 2 points is found" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing to compute"),
        (
            ["--deviation", "0.01", "--seeds", "3", "--power", "0.05"],
            "must be above 0.05, the level of the tests, got 0.05",
        ),
        (["--accuracy", "0.9", "--difference", "0.95"], "no accuracy differs from 0.9 by 0.95"),
        (["--agreement", "0.3"], "from 0.5 (chance) to 1, got 0.3"),
        (["--agreement", "0.9", "--votes", "2"], "must be odd, got 2"),
        (["--accuracy", "0.7", "--difference", "0.2", "--disagreement", "0.1"], "disagreement must be from"),
    ],
)
def test_values_out_of_range_are_usage_errors(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["power", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_percentage_instead_of_a_share_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["power", "--accuracy", "70"])
    assert "must be above 0 and below 1, got 70; for 70 % give 0.7" in capsys.readouterr().err
