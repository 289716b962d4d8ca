"""How many test images, seeds and votes a question needs (docs/explanation/power.md).

Accuracies and differences are shares from 0 to 1. All tests are two-sided at 5 %. Sources:
Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927 (interval of a share);
McNemar, "Note on the sampling error of the difference between correlated proportions", Psychometrika 12, 1947 (test);
Connor, "Sample size for testing differences in proportions for the paired-sample design", Biometrics 43, 1987, eq. 2;
Student's t with the noncentral t distribution, Johnson & Welch, Biometrika 31, 1940 (power over seeds, by its square);
Rogan & Gladen, "Estimating prevalence from the results of a screening test", American Journal of Epidemiology 107, 1978
(a share that is measured with errors).
"""

import math
from collections.abc import Callable

import numpy as np
from scipy import optimize, stats

LEVEL = 0.05  # of the tests, two-sided
POWER = 0.8  # probability with which a difference should be found
_NEGLIGIBLE, _CERTAIN = 1e-9, 1000.0  # noncentralities beyond which scipy fails; the power is LEVEL below, and 1 above
MOST = 10_000_000  # the largest number of images or seeds that is searched for
_Z = float(stats.norm.ppf(1 - LEVEL / 2))


def wilson(accuracy: float, images: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of an accuracy measured on a number of test images."""
    interval = stats.binomtest(round(accuracy * images), images).proportion_ci(1 - LEVEL, method="wilson")
    return float(interval.low), float(interval.high)


def independent_disagreement(accuracy: float, difference: float = 0.0) -> float:
    """Return the share of images that one of two networks gets right, if their errors are independent.

    `accuracy` is the mean of the two. Networks trained on one set err on the same images more often than that, so this
    is the cautious assumption.
    """
    first, second = accuracy + difference / 2, accuracy - difference / 2
    return first * (1 - second) + second * (1 - first)


def power_of_images(images: int, difference: float, disagreement: float) -> float:
    """Return the power of McNemar's test (without continuity correction) for two networks on the same images.

    The sum is exact: over the number m of images on which the networks disagree, then over those that the first gets
    right, of which at least (m + z·√m)/2, or at most (m − z·√m)/2, are significant.
    """
    _check_disagreement(difference, disagreement)
    low, high = (int(stats.binom.ppf(q, images, disagreement)) for q in (1e-9, 1 - 1e-9))
    m = np.arange(max(1, low), max(1, high) + 1)
    first = (disagreement + difference) / (2 * disagreement)
    edge = (m + _Z * np.sqrt(m)) / 2
    significant = stats.binom.sf(np.ceil(edge) - 1, m, first) + stats.binom.cdf(np.floor(m - edge), m, first)
    return float((stats.binom.pmf(m, images, disagreement) * significant).sum())


def images_needed(difference: float, disagreement: float, power: float = POWER) -> int:
    """Return the number of test images for McNemar's test: ((z₁√d + z₂√(d − δ²)) / δ)², Connor's equation 2."""
    _check_disagreement(difference, disagreement)
    z = float(stats.norm.ppf(power))
    root = _Z * math.sqrt(disagreement) + z * math.sqrt(disagreement - difference**2)
    return math.ceil((root / difference) ** 2)


def smallest_of_images(images: int, disagreement: float, power: float = POWER) -> float:
    """Return the smallest difference that McNemar's test finds with this power; 1 if there is none up to `disagreement`."""

    def missing(difference: float) -> float:
        z = float(stats.norm.ppf(power))
        return difference * math.sqrt(images) - _Z * math.sqrt(disagreement) - z * math.sqrt(
            disagreement - difference**2
        )  # fmt: skip

    if missing(disagreement) < 0:
        return 1.0  # even if all disagreements were in favor of one network
    return float(optimize.brentq(missing, 0.0, disagreement))


def power_of_seeds(pairs: int, difference: float, deviation: float) -> float:
    """Return the power of the paired t test over `pairs` differences with this mean and standard deviation.

    The two-sided t test is the F test of t², whose power is a tail of the noncentral F distribution. (scipy's noncentral
    t distribution gives nan for few pairs.) Raises ValueError if the deviation is not above 0.
    """
    if deviation <= 0:
        raise ValueError(
            f"the standard deviation of the differences must be above 0, got {deviation:g}; the t test does not apply to "
            "equal differences"
        )
    if pairs < 2:
        return 0.0
    shift = abs(difference) / deviation * math.sqrt(pairs)
    if shift > _CERTAIN:
        return 1.0
    critical = stats.t.ppf(1 - LEVEL / 2, pairs - 1)
    return float(stats.ncf.sf(critical**2, 1, pairs - 1, max(shift, _NEGLIGIBLE) ** 2))


def seeds_needed(difference: float, deviation: float, power: float = POWER) -> int:
    """Return the number of seeds for the paired t test. Raises ValueError above MOST."""
    return _smallest_number(lambda seeds: power_of_seeds(seeds, difference, deviation) >= power)


def smallest_of_seeds(pairs: int, deviation: float, power: float = POWER) -> float | None:
    """Return the smallest difference that the paired t test finds with this power; None for fewer than two pairs."""
    if pairs < 2:
        return None
    high = 1.0
    while power_of_seeds(pairs, high, 1.0) < power:
        high *= 2
    return deviation * float(optimize.brentq(lambda x: power_of_seeds(pairs, x, 1.0) - power, 0.0, high))


def voter_accuracy(agreement: float) -> float:
    """Return the accuracy a of a voter from the share of pairs of votes that agree, a² + (1 − a)².

    Assumes that voters err independently, and on right and wrong images alike. Raises ValueError below 1/2.
    """
    if not 0.5 <= agreement <= 1:
        raise ValueError(
            f"agreement must be from 0.5 (chance) to 1, got {agreement:g}; give the share of pairs of votes on one "
            "image that agree"
        )
    return (1 + math.sqrt(2 * agreement - 1)) / 2


def majority_error(votes: int, accuracy: float) -> float:
    """Return the probability that the majority of an odd number of votes is wrong. Raises ValueError for an even one."""
    if votes < 1 or votes % 2 == 0:
        raise ValueError(
            f"votes per image must be odd, got {votes}; the last of an even number only makes ties, so use {votes + 1}"
        )
    return float(stats.binom.cdf(votes // 2, votes, accuracy))


def noise_half_width(images: int, level: float, error: float) -> float:
    """Return half of the 95 % interval of a noise level from a sample of images whose verdicts err with a known share.

    Rogan & Gladen's estimate (q − e)/(1 − 2e), where q is the share of verdicts "wrong" and e their error, has the
    standard error √(q(1 − q)/n)/(1 − 2e).
    """
    share = level * (1 - error) + (1 - level) * error
    return _Z * math.sqrt(share * (1 - share) / images) / (1 - 2 * error) if error < 0.5 else math.inf


def images_for_noise(half_width: float, level: float, error: float) -> int:
    """Return the number of sampled images for an interval of ± `half_width`. Raises ValueError if votes say nothing."""
    one = noise_half_width(1, level, error)
    if math.isinf(one):
        raise ValueError("the votes agree no more than chance, so no number of them measures a noise level")
    return math.ceil((one / half_width) ** 2)


def _smallest_number(enough: Callable[[int], bool]) -> int:
    """Return the smallest number of at least 2 that is enough, by doubling and bisection."""
    high = 2
    while not enough(high):
        high *= 2
        if high > MOST:
            raise ValueError(f"more than {MOST:,} would be needed; ask for a larger difference")
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _check_disagreement(difference: float, disagreement: float) -> None:
    if not abs(difference) <= disagreement <= 1:
        raise ValueError(
            f"disagreement must be from the difference ({difference:g}) to 1, got {disagreement:g}; it is the share of "
            "images that exactly one of the two networks gets right"
        )
