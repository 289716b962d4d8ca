"""The estimated share of clean labels."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.training.methods.linear_student import CPU
from tests.training.run_helpers import Make, equal, run_until, timeless
from training import metrics
from training.data.shards import load_pair
from training.method_config import MentorMixConfig, MentorNetConfig
from training.methods.clean_share import CleanShareEstimate
from training.methods.interface import Batch
from training.trainer import Trainer

CLASSES = 10


def known(count: int, flipped: float, seed: int) -> tuple[Tensor, Tensor]:
    """Logits of a network that is right about the images it is sure of, and labels of which a share is wrong."""
    source = torch.Generator().manual_seed(seed)
    truth = torch.randint(CLASSES, (count,), generator=source)
    sure = torch.rand(count, generator=source) < 0.3
    guess = torch.where(sure, truth, torch.randint(CLASSES, (count,), generator=source))
    logits = torch.nn.functional.one_hot(guess, CLASSES) * torch.where(sure, 5.0, 1.0)[:, None]
    wrong = torch.rand(count, generator=source) < flipped
    other = (truth + torch.randint(1, CLASSES, (count,), generator=source)) % CLASSES
    return logits, torch.where(wrong, other, truth)


def give(share: CleanShareEstimate, logits: Tensor, labels: Tensor, progress: float) -> None:
    share.update(logits, Batch(labels.float(), labels, int(100 * progress), {}, progress=progress))


@settings(max_examples=25)
@given(flipped=st.floats(0, 0.9), seed=st.integers(0, 1000))
def test_it_is_the_share_of_right_labels_where_the_network_is_right_when_sure(
    flipped: float, seed: int
) -> None:
    share = CleanShareEstimate(None, 0.5, CPU)
    for step in range(10):
        give(share, *known(1000, flipped, 10 * seed + step), 0.01 * step)
    assert share.value == 1.0  # nothing is decided within the epoch
    share.begin_epoch()
    assert share.value == pytest.approx(1 - flipped, abs=0.08)  # 1,000 images decide: 5 standard deviations


def test_epochs_before_weigh_half_and_the_estimate_is_frozen_later() -> None:
    share, labels = CleanShareEstimate(None, 0.5, CPU), torch.zeros(20, dtype=torch.long)
    agree, differ = torch.eye(2)[[0] * 20], torch.eye(2)[[1] * 20]
    for step, logits in enumerate((agree, agree, agree, differ)):  # two of twenty count in each
        give(share, logits, labels, 0.1 * step)
    share.begin_epoch()
    assert share.value == pytest.approx(6 / 8)
    give(share, differ, labels, 0.45)
    share.begin_epoch()
    assert share.value == pytest.approx((6 / 2) / (8 / 2 + 2))
    give(share, agree, labels, 0.5)
    share.begin_epoch()
    assert share.value == pytest.approx(3 / 6)


def test_a_network_that_agrees_with_nothing_leaves_one_label() -> None:
    share = CleanShareEstimate(None, 0.5, CPU)
    give(share, torch.eye(2)[[1] * 20], torch.zeros(20, dtype=torch.long), 0.1)
    share.begin_epoch()
    assert share.value == 0.5  # one of two


def test_a_given_share_keeps_no_state() -> None:
    share = CleanShareEstimate(0.7, 0.5, CPU)
    give(share, *known(20, 0.5, 0), 0.1)
    share.begin_epoch()
    assert (share.value, share.state) == (0.7, {})


SHORT = {"loss_percentile": "auto", "schedule": "ramp", "balance": True, "burn_in_epochs": 1}


@pytest.mark.parametrize(("method", "steps"), [("mentormix", 5), ("mentormix", 7), ("mentornet", 10)])
def test_a_run_that_estimates_resumes_to_the_bit(
    dataset: Path, tiny_config: Make, tmp_path: Path, method: str, steps: int
) -> None:
    sets = load_pair(dataset, "blue-0.40", "test")
    config = tiny_config(
        method=method, epochs=8, mentornet=MentorNetConfig(**SHORT), mentormix=MentorMixConfig(**SHORT)  # type: ignore[arg-type]
    )  # fmt: skip
    Trainer(config, *sets, CPU).run(tmp_path / "whole")
    run_until(steps, config, sets, tmp_path / "parts")
    Trainer(config, *sets, CPU).run(tmp_path / "parts", resume=True)
    assert equal(tmp_path / "whole", tmp_path / "parts")
    rows = timeless(metrics.read_rows(tmp_path / "whole"))
    assert rows == timeless(metrics.read_rows(tmp_path / "parts"))
    estimates = [row["clean_share"] for row in rows]
    assert estimates[0] == 1.0
    assert 0 < estimates[-1] < 1
    assert estimates[3:] == [estimates[3]] * 5  # frozen at progress .125 + .875/4, in the third epoch
