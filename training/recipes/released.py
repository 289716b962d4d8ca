"""Settings of the MentorMix paper that depend on the noise level (ICML 2020, appendix, and the released code)."""

from training.method_config import MentorMix

# noise level: α, loss percentile p, second reweighting
CIFAR10 = {0.2: (2.0, 0.8, False), 0.4: (8.0, 0.6, False), 0.6: (8.0, 0.6, True), 0.8: (4.0, 0.2, True)}
RED_MINI_IMAGENET = {
    0.2: (2.0, 0.7, False),
    0.4: (8.0, 0.5, False),
    0.6: (4.0, 0.3, False),
    0.8: (8.0, 0.1, False),
}


def mentormix_for(table: dict[float, tuple[float, float, bool]], noise_level: float) -> MentorMix:
    """Return the table's row for the nearest noise level, the lower of two that are as near."""
    nearest = min(sorted(table), key=lambda level: round(abs(level - noise_level), 9))
    alpha, percentile, second = table[nearest]
    return MentorMix(alpha=alpha, loss_percentile=percentile, second_reweight=second)
