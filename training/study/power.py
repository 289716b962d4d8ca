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
_NEGLIGIBLE, _LARGE = 1e-9, 1000.0  # noncentralities beyond which scipy fails
MOST = 10_000_000  # the largest number of images or seeds that is searched for
_Z = float(stats.norm.ppf(1 - LEVEL / 2))


def wilson(accuracy: float, images: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of an accuracy measured on a number of test images."""
    interval = stats.binomtest(round(accuracy * images), images).proportion_ci(1 - LEVEL, method="wilson")
    return float(interval.low), float(interval.high)


def independent_disagreement(accuracy: float, difference: float = 0.0) -> float:
    """Return the share of images that exactly one of two networks gets right, if their errors are independent.

    The networks have the accuracies a and b, and the share is a(1 − b) + b(1 − a). a is `accuracy`; b is a − δ for a of
    at least 1/2, else a + δ: the direction in which the share is larger, and the test less powerful. Networks that are
    trained on one set err on the same images more often, so independence is cautious, too. Raises ValueError if b is
    not a share.
    """
    high = max(accuracy, 1 - accuracy)  # exchanging right and wrong changes nothing
    if not 0 <= difference <= high:
        raise ValueError(
            f"no accuracy differs from {accuracy:g} by {difference:g}; give a difference from 0 to {high:g}"
        )
    return difference + 2 * (high - difference) * (1 - high)  # at least the difference, even after rounding


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


def smallest_of_images(
    images: int, accuracy: float, disagreement: float | None = None, power: float = POWER
) -> float | None:
    """Return the smallest difference δ that McNemar's test finds with this power; None if there is none.

    The disagreement d of the two networks is `disagreement`, or by default `independent_disagreement` of the accuracy and
    δ: with h = max(a, 1 − a), d = 2h(1 − h) + (2h − 1)δ. Solves Connor's equation 2, in which x = δ²/d depends on the
    number of images n alone: √(nx) = z₁ + z₂√(1 − x), which is √n sin θ − z₂ cos θ = z₁ with x = sin² θ.
    """
    if images < _Z**2:
        return None  # even if the networks disagree on all images, always in favor of one
    z, root = float(stats.norm.ppf(power)), math.sqrt(images)
    x = math.sin(math.atan2(z, root) + math.asin(_Z / math.hypot(root, z))) ** 2
    if disagreement is None:
        high = max(accuracy, 1 - accuracy)
        at_zero, slope, most = 2 * high * (1 - high), 2 * high - 1, high
    else:
        at_zero, slope, most = disagreement, 0.0, disagreement
    smallest = (x * slope + math.sqrt((x * slope) ** 2 + 4 * x * at_zero)) / 2  # δ² = x(at_zero + slope·δ)
    return smallest if smallest <= most else None


def power_of_seeds(pairs: int, difference: float, deviation: float, comparisons: int = 1) -> float:
    """Return the power of the paired t test over `pairs` differences with this mean and standard deviation.

    The two-sided t test is the F test of t², whose power is a tail of the noncentral F distribution. (scipy's noncentral
    t distribution gives nan for few pairs.) comparisons: the number by which the level is divided, as in the first step
    of Holm's correction. Raises ValueError if the deviation is not above 0.
    """
    _check_deviation(deviation)
    if pairs < 2:
        return 0.0
    freedom, shift = pairs - 1, abs(difference) / deviation * math.sqrt(pairs)
    critical = stats.t.ppf(1 - LEVEL / comparisons / 2, freedom)
    if shift > _LARGE:  # then the estimated deviation alone decides
        return float(stats.chi2.cdf(freedom * min(shift / critical, _LARGE) ** 2, freedom))
    return float(stats.ncf.sf(critical**2, 1, freedom, max(shift, _NEGLIGIBLE) ** 2))


def seeds_needed(difference: float, deviation: float, power: float = POWER) -> int:
    """Return the number of seeds for the paired t test. Raises ValueError above MOST, and if the deviation is not above 0."""
    return _smallest_number(lambda seeds: power_of_seeds(seeds, difference, deviation) >= power)


def smallest_of_seeds(
    pairs: int, deviation: float, power: float = POWER, comparisons: int = 1
) -> float | None:
    """Return the smallest difference that the paired t test finds with this power; None for fewer than two pairs.

    comparisons: as in `power_of_seeds`. Raises ValueError if the deviation is not above 0.
    """
    _check_deviation(deviation)
    if pairs < 2:
        return None
    high = 1.0
    while power_of_seeds(pairs, high, 1.0, comparisons) < power:
        high *= 2
    return deviation * float(
        optimize.brentq(lambda x: power_of_seeds(pairs, x, 1.0, comparisons) - power, 0.0, high)
    )


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


def _check_deviation(deviation: float) -> None:
    if deviation <= 0:
        raise ValueError(
            f"the standard deviation of the differences must be above 0, got {deviation:g}: the paired t test does not "
            "apply to equal differences; give the deviation of differences that vary"
        )
