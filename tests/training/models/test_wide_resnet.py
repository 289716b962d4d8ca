"""The network of the released MentorMix code: what differs from other pre-activation residual networks."""

import math

import torch
from torch.nn.functional import batch_norm, leaky_relu, pad

from training.config import NetworkConfig
from training.models.registry import make_network
from training.models.wide_resnet import WideResNet32, WideUnit


def test_the_first_unit_activates_before_its_norm_and_takes_the_shortcut_after_both() -> None:
    network = WideResNet32(2, 3)
    assert [unit.first for unit in network.units] == [True] + [False] * 14
    unit = network.units[0]
    assert isinstance(unit, WideUnit)
    torch.nn.init.zeros_(unit.conv2.weight)  # the shortcut alone is left
    x = torch.randn(4, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    expected = batch_norm(leaky_relu(x, 0.1), None, None, training=True, eps=1e-3)
    assert torch.allclose(unit(x), pad(expected, (0, 0, 0, 0, 1, 1)), atol=1e-6)


def test_both_branches_of_the_first_unit_start_from_the_same_tensor() -> None:
    unit = WideUnit(2, 2, stride=1, first=True)
    x = torch.randn(4, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    start = batch_norm(leaky_relu(x, 0.1), None, None, training=True, eps=1e-3)
    inner = batch_norm(unit.conv1(start), None, None, training=True, eps=1e-3)
    assert torch.allclose(unit(x), start + unit.conv2(leaky_relu(inner, 0.1)), atol=1e-5)


def test_the_head_starts_uniform_with_unit_variance_scaling_and_no_bias() -> None:
    head = make_network(NetworkConfig("wide_resnet32", 8), 50, seed=0).head
    bound = math.sqrt(3 / 64)  # 64 inputs
    assert 0.98 * bound < head.weight.abs().max().item() <= bound
    assert abs(head.weight.var().item() * 64 - 1) < 0.1
    assert head.bias.tolist() == [0.0] * 50
