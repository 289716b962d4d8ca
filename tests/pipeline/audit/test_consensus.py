import numpy as np
from scipy.special import expit

from pipeline.audit.consensus import combine, votes_from_patterns


def world(count: int = 10_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Truth, votes on it, P(yes) by the votes, and the probability of a probe that is too sure of itself."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.standard_normal(count)
    truth = rng.random(count) < expit(logits)
    yes = rng.binomial(3, np.where(truth, 0.8, 0.3))
    right = truth.mean() * 0.8**yes * 0.2 ** (3 - yes)
    wrong = (1 - truth.mean()) * 0.3**yes * 0.7 ** (3 - yes)
    counts = np.stack([yes, 3 - yes, np.zeros(count, int)], axis=1)
    return truth, counts, right / (right + wrong), expit(2 * logits + 1)


def log_loss(p: np.ndarray, truth: np.ndarray) -> float:
    return float(-np.log(np.where(truth, p, 1 - p)).mean())


def test_votes_and_probe_together_are_calibrated_and_better_than_each():
    truth, _, votes, probe = world()
    found = combine(votes, probe)
    assert abs(found.slope - 0.5) < 0.05  # the probe's logits are twice too large
    assert log_loss(found.combined, truth) < min(log_loss(votes, truth), log_loss(found.model, truth)) - 0.05
    for low in np.arange(0, 1, 0.2):
        of = (found.combined >= low) & (found.combined < low + 0.2)
        assert abs(found.combined[of].mean() - truth[of].mean()) < 0.03


def test_votes_that_say_nothing_leave_the_probe_alone():
    _, _, votes, probe = world(2000)
    found = combine(np.full_like(votes, 0.3), probe)
    assert np.allclose(found.model, found.combined)


def test_the_likelihood_of_votes_is_learned_from_the_probe():
    truth, counts, votes, probe = world()
    learned = votes_from_patterns(counts, probe)
    for yes in range(4):
        of = counts[:, 0] == yes
        assert abs(learned[of].mean() - truth[of].mean()) < 0.05
    assert len(np.unique(learned)) == 4
    assert np.corrcoef(learned, votes)[0, 1] > 0.99
