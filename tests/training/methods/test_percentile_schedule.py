"""Burn-in and the percentile schedule."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UsageError
from tests.training.methods.linear_student import CPU, B
from training.method_config import MentorNetConfig
from training.methods.interface import Batch, RunFacts
from training.methods.percentile_schedule import PercentileSchedule
from training.recipes.registry import configure

STEPS_PER_EPOCH = 10


def at(step: int, epochs: int) -> Batch:
    steps = epochs * STEPS_PER_EPOCH
    nothing = torch.zeros(B)
    return Batch(
        nothing, nothing.long(), 100 * step // steps, {}, epoch=step // STEPS_PER_EPOCH, progress=step / steps
    )


def shares(config: MentorNetConfig, clean_share: float, epochs: int) -> tuple[list[bool], list[float]]:
    schedule = PercentileSchedule(config, RunFacts(10, 100, CPU, epochs))
    batches = [at(step, epochs) for step in range(epochs * STEPS_PER_EPOCH)]
    return [schedule.burning_in(one) for one in batches], [
        schedule.percentile(one, clean_share) for one in batches
    ]


def test_the_released_percentile_never_changes() -> None:
    assert set(shares(MentorNetConfig(), 0.3, 20)[1]) == {0.3}


def test_the_ramp_falls_from_one_to_the_clean_share_over_half_of_what_burn_in_leaves() -> None:
    burning, result = shares(MentorNetConfig(schedule="ramp", burn_in_percent=21), 0.4, 10)
    assert burning == [True] * 20 + [False] * 80
    assert result[:20] == [1.0] * 20
    assert result[20:60] == pytest.approx([1 - 0.6 * k / 40 for k in range(40)])
    assert result[60:] == pytest.approx([0.4] * 40)


@given(
    clean_share=st.floats(0.01, 1),
    epochs=st.integers(1, 40),
    burn_in_percent=st.integers(0, 100),
    at_least=st.integers(0, 50),
)
def test_the_ramp_never_rises_and_burn_in_is_the_longer_of_two(
    clean_share: float, epochs: int, burn_in_percent: int, at_least: int
) -> None:
    config = MentorNetConfig(schedule="ramp", burn_in_percent=burn_in_percent, burn_in_epochs=at_least)
    burning, result = shares(config, clean_share, epochs)
    assert result == sorted(result, reverse=True)
    assert all(clean_share - 1e-12 <= share <= 1 for share in result)
    assert all(share == 1.0 for share, first in zip(result, burning, strict=True) if first)
    released, epoch = (replace(config, burn_in_epochs=0), replace(config, burn_in_percent=0))
    assert sum(burning) == max(sum(shares(one, clean_share, epochs)[0]) for one in (released, epoch))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"loss_percentile": "auto"}, "auto needs schedule=ramp"),
        ({"loss_percentile": "automatic"}, "expected float.*not one of auto"),
        ({"schedule": "ramp", "mentor": "self_paced"}, "self_paced needs schedule=released"),
        ({"schedule": "ramp", "second_reweight": True}, "second_reweight=true needs schedule=released"),
        ({"balance": True, "second_reweight": True}, "second_reweight=true needs schedule=released"),
        ({"burn_in": 5}, "'burn_in' is now called 'burn_in_percent'"),
        ({"burn_in_epochs": -1}, "burn_in_epochs must be at least 0"),
    ],
)
def test_options_that_exclude_each_other_are_named(section: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        configure("cifar10", 0.4, {"mentormix": {"mentor": "threshold", **section}})
