"""Losses centered by the running mean of their class."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.training.methods.linear_student import CLASSES, CPU, FACTS, B, batch
from training.method_config import MentorNetConfig
from training.methods.balance import ClassBalance
from training.methods.mentornet import Mentor


def test_the_mean_of_a_class_is_over_decayed_sums() -> None:
    balance = ClassBalance(3, CPU)
    batches = [([1.0, 2.0, 6.0], [0, 0, 1]), ([5.0, 3.0, 1.0], [1, 1, 2]), ([4.0, 4.0], [0, 2])]
    sums, counts = np.zeros(3), np.zeros(3)
    for losses, labels in batches:
        sums, counts = 0.9 * sums, 0.9 * counts
        for loss, label in zip(losses, labels, strict=True):
            sums[label] += 0.1 * loss
            counts[label] += 0.1
        balance.update(torch.tensor(losses), torch.tensor(labels))
        expected = [loss - sums[k] / counts[k] for loss, k in zip(losses, labels, strict=True)]
        result = balance.center(torch.tensor(losses), torch.tensor(labels))
        assert result.tolist() == pytest.approx(expected, abs=1e-6)


@given(offsets=st.lists(st.floats(-3, 3), min_size=CLASSES, max_size=CLASSES), steps=st.integers(1, 4))
def test_an_offset_common_to_a_class_changes_no_weight(offsets: list[float], steps: int) -> None:
    config = MentorNetConfig(loss_percentile=0.5, average_decay=0.0, burn_in_percent=0, balance=True)
    plain, shifted = Mentor(config, FACTS), Mentor(config, FACTS)
    for step in range(steps):
        one = batch(50, {}, seed=step)
        losses = torch.rand(B, generator=torch.Generator().manual_seed(step))
        _, differences = plain.weigh(losses, one)
        _, same = shifted.weigh(losses + torch.tensor(offsets)[one.labels], one)
        assert torch.allclose(differences, same, atol=1e-5)


def test_a_favored_class_does_not_take_all_trust() -> None:
    one = batch(50, {})
    favored = one.labels == one.labels[0]
    losses = torch.where(favored, 0.0, 10.0) + torch.rand(B, generator=torch.Generator().manual_seed(0))
    for balance in (False, True):
        config = MentorNetConfig(loss_percentile=0.5, average_decay=0.0, burn_in_percent=0, balance=balance)
        weights, _ = Mentor(config, FACTS).weigh(losses, one)
        assert bool(weights[favored].all()) is not balance
        assert 0.4 * B <= weights.sum().item() <= 0.6 * B
