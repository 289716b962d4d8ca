"""Settings of methods for runs of a few thousand steps, the same for all noise levels."""

from typing import Any

from training.method_config import MentorMixConfig, MentorNetConfig
from training.recipes.released_settings import others_for

RAMP: dict[str, Any] = {"loss_percentile": "auto", "schedule": "ramp", "balance": True, "burn_in_epochs": 2}


def short_methods(noise_level: float, *, many_classes: bool) -> dict[str, Any]:
    """Return the configuration sections of methods; only those without a mentor use `noise_level`.

    Chosen with seed 100 on the sets of the demo and on cifar10n (docs/results/study.md).
    """
    return {
        "mentornet": MentorNetConfig(**RAMP),
        "mentormix": MentorMixConfig(**RAMP, alpha=2.0),
        **others_for(noise_level, many_classes=many_classes),
    }
