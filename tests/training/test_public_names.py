"""The names that docs/reference/python.md gives are public, and their arguments are checked."""

import re
from pathlib import Path

import pytest

import training
from common.errors import UsageError
from training import MentorMix, RobustLoss, TrainConfig
from training.config import METHODS

REFERENCE = Path(__file__).parents[2] / "docs/reference/python.md"


def test_every_class_of_the_documented_table_is_public() -> None:
    loop = REFERENCE.read_text(encoding="utf-8").partition("## In one's own training loop")[2]
    cells = re.findall(r"^\| (`.*?) \|", loop.partition("\n## ")[0], re.MULTILINE)
    named = {name for cell in cells for name in re.findall(r"\b[A-Z]\w+", cell)} - {"None", "True", "False"}
    assert {"MentorMix", "RobustLoss"} <= named
    assert named <= set(training.__all__)


@pytest.mark.parametrize("noise_level", [40, 1.5, -0.2])
def test_a_noise_level_is_a_share(noise_level: float) -> None:
    with pytest.raises(ValueError, match=f"noise_level is a share from 0 to 1, got {noise_level:g}"):
        MentorMix(steps=1_000, noise_level=noise_level)


def test_an_unknown_method_is_an_error_that_lists_the_methods() -> None:
    with pytest.raises(UsageError, match=r"unknown method 'mentormx'; methods: vanilla, .*mentormix"):
        RobustLoss(TrainConfig(method="mentormx"), steps=1_000)  # type: ignore[arg-type]


def test_the_documented_methods_can_be_losses_and_the_others_say_what_to_run() -> None:
    for method in METHODS:
        config = TrainConfig(method=method)
        if method in ("dropout", "weight_decay", "co_teaching", "dividemix"):
            with pytest.raises(UsageError, match="python -m training train"):
                RobustLoss(config, steps=1_000, classes=3, examples=9)
        else:
            RobustLoss(config, steps=1_000, classes=3, examples=9)
