"""Settings of the methods for runs of some thousand steps: one for all noise levels, which nobody has to know."""

from typing import Any

from training.method_config import MentorMixConfig, MentorNetConfig
from training.recipes.released_settings import others_for

RAMP: dict[str, Any] = {"loss_percentile": "auto", "schedule": "ramp", "balance": True, "burn_in_epochs": 2}


def short_methods(noise_level: float, *, many_classes: bool) -> dict[str, Any]:
    """Return the sections of the methods; `noise_level` is used by those without a mentor alone.

    Chosen with seed 100 on the demo's sets and on cifar10n; docs/explanation/methods.md has the measurements.
    """
    return {
        "mentornet": MentorNetConfig(**RAMP),
        "mentormix": MentorMixConfig(**RAMP, alpha=2.0),
        **others_for(noise_level, many_classes=many_classes),
    }
