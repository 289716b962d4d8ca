"""Every method, and the variants of the mentors, as keyword arguments of TrainConfig."""

from typing import Any

from training.config import METHODS
from training.method_config import MentorMixConfig, MentorNetConfig

RAMP: dict[str, Any] = {"schedule": "ramp", "balance": True}
METHOD_CASES: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in METHODS),
    ("mentornet", {"mentornet": MentorNetConfig(**RAMP)}),
    ("mentormix", {"mentormix": MentorMixConfig(**RAMP)}),
    ("mentormix", {"mentormix": MentorMixConfig(mentor="pd-closed", second_reweight=True)}),
    ("mentormix", {"mentormix": MentorMixConfig(mixing="blend", mentor="self_paced")}),
]
