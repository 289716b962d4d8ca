"""Likelihoods of the votes on an image, given which of the classes that were asked about it shows.

Workers err independently only given how difficult a question is, so the share of right answers differs from question to
question: it has a beta distribution, whose intraclass correlation is a parameter. The model distinguishes two kinds of votes.
Binary votes are answers to separate questions. Choices are votes of workers who each chose one class of an image (as in
CIFAR-10N), so the questions about an image share their votes.

J. G. Skellam: A Probability Distribution Derived from the Binomial Distribution (1948): the beta-binomial distribution.
S. Hui, S. Walter: Estimating the Error Rates of Diagnostic Tests (1980): error rates without known answers.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.special import betaln, expit, gammaln

from schemas.vote import ANSWERS

YES, NO, UNSURE = (ANSWERS.index(name) for name in ("yes", "no", "unsure"))
GROUPS = 4  # images with 1, 2, 3, and 4 or more questions have priors of their own
MAX_LOG_RATIO = 60.0
# Images with several questions that the model of choices needs: a single question does not show how the other choices spread.
SHARED_IMAGES = 100

# Prior means and standard deviations of the parameters, as logits. Three to five votes a question hardly say how much
# mistakes are correlated, so the prior of the intraclass correlation (0.1, 95 % from 0.03 to 0.26) matters most; it was
# chosen on CIFAR-10N (docs/explanation/true-noise.md).
BINARY = {
    "yes_if_shown": (1.9, 0.7),
    "yes_if_not": (-2.2, 0.9),
    "correlation_if_shown": (-2.2, 0.6),
    "correlation_if_not": (-2.2, 0.6),
    "unsure_if_shown": (-3.0, 1.5),
    "unsure_if_not": (-3.0, 1.5),
    "correlation_unsure": (-1.4, 0.7),
    **{f"none_of_{k}": (0.0, 1.5) for k in range(1, GROUPS + 1)},
    **{
        f"separate_of_{k}": (-2.0, 1.5) for k in range(2, GROUPS + 1)
    },  # images whose classes do not exclude each other
    **{
        f"shown_of_{k}": (-1.0, 1.0) for k in range(2, GROUPS + 1)
    },  # share of the classes that such an image shows
}
CHOICE = {
    "right_choice": (1.7, 0.7),
    "correlation": (-2.2, 0.6),
    "log_spread": (-1.5, 1.0),  # concentration of the wrong choices among the other classes
    "none_listed": (0.0, 1.0),  # log odds of an unasked class, beyond its share of the classes
}


@dataclass(frozen=True)
class VoteKind:
    """Properties of the votes that a model is fitted to. They select the likelihood, also for a bucket that, for example, has
    no unsure votes.

    choices: whether each worker chose one class of an image. unsure: whether there are unsure votes. unlisted: whether
    there are choices of classes that were not asked about.
    """

    choices: bool
    unsure: bool = True
    unlisted: bool = True


@dataclass(frozen=True)
class ImageVotes:
    """Votes on n questions about i images; all questions about an image follow each other.

    counts: int64 (n, 3), votes by answer. starts: int64 (i,), the first question of each image. weights: float64 (i,), how
    many images with these votes there are. classes: number of listed classes.
    """

    counts: np.ndarray
    starts: np.ndarray
    weights: np.ndarray
    classes: int
    kind: VoteKind

    @classmethod
    def of(cls, counts: np.ndarray, images: np.ndarray, classes: int, kind: VoteKind) -> "ImageVotes":
        """Return the votes of questions whose images have the codes `images` (n,), equal codes next to each other."""
        starts = np.flatnonzero(np.diff(images, prepend=-1))
        return cls(counts.astype(np.int64), starts, np.ones(len(starts)), classes, kind)

    @cached_property
    def sizes(self) -> np.ndarray:
        """Number of questions about each image, int64 (i,)."""
        return np.diff(np.append(self.starts, len(self.counts)))

    @cached_property
    def combinations(self) -> tuple[np.ndarray, np.ndarray]:
        """Distinct rows of `counts`, and the index of the row of each question, int64 (n,)."""
        rows, index = np.unique(self.counts, axis=0, return_inverse=True)
        return rows, index.ravel()

    @cached_property
    def image(self) -> np.ndarray:
        """Index of the image of each question, int64 (n,)."""
        return np.repeat(np.arange(len(self.starts)), self.sizes)

    @cached_property
    def unlisted(self) -> np.ndarray:
        """Number of votes for classes that were not asked about, if the votes are choices, int64 (i,)."""
        number = self.counts.sum(axis=1)[self.starts]
        return np.maximum(number - np.add.reduceat(self.counts[:, YES], self.starts), 0)

    def with_kind(self, class_answers: bool) -> "ImageVotes":
        """Return the votes of the sample of a build with their kind; class_answers: whether the answers were class names.

        Votes can be choices if none is unsure, the questions about an image have equally many votes, and no image has more
        votes yes than voters. They are choices in two cases. Either every image has exactly as many votes yes as voters:
        then the questions are about the classes that the workers chose, as in CIFAR-10N. Or the answers were names of
        classes, and at least SHARED_IMAGES images have several questions.
        """
        unsure, total = bool(self.counts[:, UNSURE].any()), self.counts.sum(axis=1)
        several, yes = self.sizes > 1, np.add.reduceat(self.counts[:, YES], self.starts)
        low, high = np.minimum.reduceat(total, self.starts), np.maximum.reduceat(total, self.starts)
        possible = not unsure and bool((low == high).all() and (yes <= low).all())
        chosen = class_answers and several.sum() >= SHARED_IMAGES
        is_choice = possible and bool(several.any()) and (chosen or bool((yes == low).all()))
        return replace(self, kind=VoteKind(is_choice, unsure, bool(self.unlisted.any())))

    def distinct(self) -> "ImageVotes":
        """Return one image for each pattern of votes, with its weight; the order of questions does not matter."""
        combos, codes = self.combinations
        # A sum of random numbers, modulo 2⁶⁴, stands for a multiset of vote counts.
        numbers = np.random.default_rng(0).integers(0, 2**64, len(combos), dtype=np.uint64)
        keys = np.add.reduceat(numbers[codes], self.starts)
        _, first, index = np.unique(keys, return_index=True, return_inverse=True)
        sizes = self.sizes[first]
        ends = np.cumsum(sizes)
        rows = np.arange(ends[-1]) - np.repeat(ends - sizes, sizes) + np.repeat(self.starts[first], sizes)
        weights = np.bincount(index, self.weights)
        return ImageVotes(self.counts[rows], ends - sizes, weights, self.classes, self.kind)


def priors(votes: ImageVotes) -> tuple[np.ndarray, np.ndarray]:
    """Return means and standard deviations of the parameters of these votes, each float64 (parameters,)."""
    names = CHOICE if votes.kind.choices else BINARY
    mean, deviation = np.array(list(names.values())).T
    return mean, deviation


def shown_probabilities(
    parameters: np.ndarray, votes: ImageVotes
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (log-likelihood (i,), posterior P(the class is shown) (n,), the same before the votes (n,))."""
    model = _choice if votes.kind.choices else _binary
    return model(parameters, votes)


def _beta_binomial(k: np.ndarray, n: np.ndarray, mean: float, correlation: float) -> np.ndarray:
    """Return log P(k of n); intraclass correlation = 1 / (a + b + 1) of the beta distribution."""
    total = 1 / np.clip(correlation, 1e-4, 0.999) - 1
    a, b = mean * total, (1 - mean) * total
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1) + betaln(k + a, n - k + b) - betaln(a, b)


def _binary(parameters: np.ndarray, votes: ImageVotes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    p = dict(zip(BINARY, parameters, strict=True))
    rows, index = votes.combinations
    yes, no, unsure = rows.T

    def log_likelihood(state: str) -> np.ndarray:
        chance, correlation = expit(p[f"yes_if_{state}"]), expit(p[f"correlation_if_{state}"])
        result = _beta_binomial(yes, yes + no, chance, correlation)
        if votes.kind.unsure:
            chance, correlation = expit(p[f"unsure_if_{state}"]), expit(p["correlation_unsure"])
            result = result + _beta_binomial(unsure, yes + no + unsure, chance, correlation)
        return result[index]

    if_not, if_shown = log_likelihood("not"), log_likelihood("shown")
    ratio = np.exp(np.clip(if_shown - if_not, -MAX_LOG_RATIO, MAX_LOG_RATIO))
    group, size, image = np.minimum(votes.sizes, GROUPS) - 1, votes.sizes, votes.image
    sizes = range(1, GROUPS + 1)
    none = expit(np.array([p[f"none_of_{k}"] for k in sizes]))[group]
    separate = np.array([expit(p[f"separate_of_{k}"]) if k > 1 else 0.0 for k in sizes])[group]
    chance = np.array([expit(p[f"shown_of_{k}"]) if k > 1 else 0.0 for k in sizes])[group][image]
    exclusive = (1 - separate) * (none + (1 - none) * np.add.reduceat(ratio, votes.starts) / size)
    each = 1 - chance + chance * ratio
    together = separate * np.exp(np.add.reduceat(np.log(each), votes.starts))
    evidence = exclusive + together
    before = (1 - separate) * (1 - none) / size
    shown = (before[image] * ratio + together[image] * chance * ratio / each) / evidence[image]
    before = before[image] + separate[image] * chance
    return np.add.reduceat(if_not, votes.starts) + np.log(evidence), np.clip(shown, 0, 1), before


def _choice(parameters: np.ndarray, votes: ImageVotes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Choices: the true class gets a beta-binomial number of votes, the others share the rest (Dirichlet-multinomial)."""
    p = dict(zip(CHOICE, parameters, strict=True))
    right, correlation, spread = expit(p["right_choice"]), expit(p["correlation"]), np.exp(p["log_spread"])
    others = votes.classes - 1
    yes, total = votes.counts[:, YES], votes.counts.sum(axis=1)
    number, size, image = total[votes.starts], votes.sizes, votes.image

    def part(k: np.ndarray, weight: np.ndarray | float) -> np.ndarray:
        """Return the log factor of k votes for wrong classes of this total weight."""
        weight = np.maximum(weight, 1e-9)
        return gammaln(weight + k) - gammaln(weight) - gammaln(k + 1)

    def whole(k: np.ndarray) -> np.ndarray:
        return gammaln(k + 1) + gammaln(others * spread) - gammaln(others * spread + k)

    wrong = part(yes, spread)
    unlisted = votes.unlisted
    left = np.maximum(votes.classes - size, 0)
    base = np.add.reduceat(wrong, votes.starts)
    shown = _beta_binomial(yes, total, right, correlation) + whole(total - yes) - wrong
    shown += part(unlisted, left * spread)[image]
    none = np.full(len(size), -np.inf)
    for k in range(int(unlisted.max(initial=0)) + 1):  # votes for the true class, which was not asked about
        fits = unlisted >= k
        score = _beta_binomial(np.full(len(size), k), number, right, correlation) + whole(number - k)
        score = score + part(np.maximum(unlisted - k, 0), np.maximum(left - 1, 0) * spread)
        none = np.where(fits, np.logaddexp(none, score), none)
    prior_one = 1 / votes.classes
    if votes.kind.unlisted:
        prior_none = (left + 1e-3) / votes.classes * np.exp(p["none_listed"])
        norm = prior_none + size * prior_one
    else:  # every class that was chosen is asked about, and only those: the votes decide how many questions there are
        prior_none, norm = (left + 1e-3) / votes.classes, np.ones(len(size))
    scale = np.maximum(np.maximum.reduceat(shown, votes.starts), none)
    relative = np.exp(shown - scale[image]) * prior_one
    evidence = np.add.reduceat(relative, votes.starts) + np.exp(none - scale) * prior_none
    return (
        base + scale + np.log(evidence / norm),
        relative / evidence[image],
        (prior_one / (prior_none + size * prior_one))[image],
    )
