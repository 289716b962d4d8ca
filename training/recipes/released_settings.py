"""Settings of methods for each noise level, from the MentorMix paper and from the papers of the other methods."""

from typing import Any

from common.config import require_share
from training.method_config import (
    CoTeachingConfig,
    DivideMixConfig,
    ELRConfig,
    MentorMixConfig,
    MentorName,
    MentorNetConfig,
)

LevelSettings = dict[float, tuple[float, float, bool]]
"""Settings of MentorMix: noise level to α, loss percentile p, and second reweighting."""

# ICML 2020, appendix, and the released code
CIFAR10: LevelSettings = {
    0.2: (2.0, 0.8, False), 0.4: (8.0, 0.6, False), 0.6: (8.0, 0.6, True), 0.8: (4.0, 0.2, True)
}  # fmt: skip
CIFAR100: LevelSettings = {
    0.2: (2.0, 0.7, False), 0.4: (8.0, 0.5, False), 0.6: (4.0, 0.3, True), 0.8: (8.0, 0.1, True)
}  # fmt: skip
RED_MINI_IMAGENET: LevelSettings = {
    0.2: (2.0, 0.7, False), 0.4: (8.0, 0.5, False), 0.6: (4.0, 0.3, False), 0.8: (8.0, 0.1, False)
}  # fmt: skip


def methods_for(
    settings: LevelSettings, noise_level: float, *, many_classes: bool, mentor: MentorName = "threshold"
) -> dict[str, Any]:
    """Return the configuration sections that depend on the noise level or on the number of classes."""
    mentormix = mentormix_for(settings, noise_level, mentor)
    return {
        "mentornet": MentorNetConfig(loss_percentile=mentormix.loss_percentile, mentor=mentor),
        "mentormix": mentormix,
        **others_for(noise_level, many_classes=many_classes),
    }


def others_for(noise_level: float, *, many_classes: bool) -> dict[str, Any]:
    """Return those of these sections whose methods have no mentor."""
    few_wrong = noise_level < 0.35
    unlabeled = (25.0 if few_wrong else 150.0) if many_classes else (0.0 if few_wrong else 25.0)
    return {
        "co_teaching": CoTeachingConfig(forget_rate=noise_level),
        "elr": ELRConfig(7.0, 0.9) if many_classes else ELRConfig(3.0, 0.7),
        "dividemix": DivideMixConfig(
            warmup_epochs=30 if many_classes else 10,
            unlabeled_weight=unlabeled,
        ),
    }


def mentormix_for(
    settings: LevelSettings, noise_level: float, mentor: MentorName = "threshold"
) -> MentorMixConfig:
    """Return the settings of the nearest noise level, of the lower one if two are equally near.

    Raises ValueError for a noise level that is no share.
    """
    require_share("noise_level", noise_level)
    nearest = min(sorted(settings), key=lambda level: round(abs(level - noise_level), 9))
    alpha, percentile, second = settings[nearest]
    return MentorMixConfig(alpha=alpha, loss_percentile=percentile, second_reweight=second, mentor=mentor)
