"""Steps of every method: those of a device equal those of the CPU in fp32, and bf16 autocast gives finite gradients.

The reference has contiguous tensors, the device channels-last tensors, so that also on the CPU other kernels are
compared.
"""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.training.method_cases import METHOD_CASES
from training.config import NetworkConfig, TrainConfig
from training.device import kernel_settings
from training.method_config import DropoutConfig
from training.methods.interface import Batch, RunFacts
from training.methods.registry import make_method
from training.models.registry import make_network
from training.models.student import Student

CPU = torch.device("cpu")
BATCH, CLASSES, EXAMPLES = 16, 5, 40
BEFORE_WARMUP, AFTER_WARMUP = (
    0,
    60,
)  # epochs; DivideMix and the mentors compute something else in the first ones


def take_steps(
    method_name: str,
    section: dict[str, Any],
    epoch: int,
    device: torch.device,
    memory_format: torch.memory_format,
    *,
    bf16: bool = False,
) -> dict[str, Tensor]:
    """Take two steps without updating the network, so that the second uses the state left by the first.

    Return the loss, the sums of gradients and the state of the method, on the CPU, by name.
    """
    if method_name == "dropout":
        section = {
            "dropout": DropoutConfig(rate=1e-12)
        }  # drops nothing: its random numbers differ among devices
    config = TrainConfig(method=method_name, network=NetworkConfig("small_cnn", 8), **section)  # type: ignore[arg-type]
    method = make_method(config, RunFacts(CLASSES, EXAMPLES, device, 100))
    source = torch.Generator().manual_seed(0)
    if "clean" in method.state:  # DivideMix: all probabilities are 1 before the first division
        method.state["clean"].copy_(torch.rand(method.state["clean"].shape, generator=source))
    draws = method.draw((2, BATCH), source)
    networks = [make_network(config.network, CLASSES, 0, number) for number in range(method.networks)]
    for network in networks:
        network.to(device, memory_format=memory_format).train()
        method.prepare(network)
    students = [Student(network, bf16) for network in networks]
    for number in range(2):
        images, second_view = torch.randn(2, BATCH, 3, 16, 16, generator=source)
        batch = Batch(
            images=images.to(device, memory_format=memory_format),
            labels=torch.randint(CLASSES, (BATCH,), generator=source).to(device),
            percent=epoch,
            draws={name: values[number].to(device) for name, values in draws.items()},
            index=torch.randperm(EXAMPLES, generator=source)[:BATCH].to(device),
            epoch=epoch,
            phase_done=0.5,
            second_view=second_view.to(device, memory_format=memory_format),
            progress=epoch / 100,
        )
        outcome = method.step(students, batch)
        outcome.loss.backward()
    tensors = {"loss": outcome.loss.detach(), **method.state}
    parameters = dict(method.parameters) | {
        f"{number}.{name}": parameter
        for number, network in enumerate(networks)
        for name, parameter in network.named_parameters()
    }
    tensors |= {f"gradient.{n}": p.grad for n, p in parameters.items() if p.grad is not None}
    return {name: tensor.cpu() for name, tensor in tensors.items()}


@pytest.mark.parametrize("epoch", [BEFORE_WARMUP, AFTER_WARMUP])
@pytest.mark.parametrize(("method_name", "section"), METHOD_CASES)
def test_loss_gradients_and_state_equal_those_of_the_cpu(
    device: torch.device, method_name: str, section: dict[str, Any], epoch: int
) -> None:
    reference = take_steps(method_name, section, epoch, CPU, torch.contiguous_format)
    with kernel_settings(device, deterministic=True):
        tensors = take_steps(method_name, section, epoch, device, torch.channels_last)
    assert sum(name.startswith("gradient") for name in tensors) > 1
    assert tensors.keys() == reference.keys()
    for name, expected in reference.items():
        torch.testing.assert_close(
            tensors[name], expected, rtol=1e-3, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )
    torch.testing.assert_close(tensors["loss"], reference["loss"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("epoch", [BEFORE_WARMUP, AFTER_WARMUP])
@pytest.mark.parametrize(("method_name", "section"), METHOD_CASES)
def test_bf16_autocast_gives_finite_float32_gradients(
    device: torch.device, method_name: str, section: dict[str, Any], epoch: int
) -> None:
    exact = take_steps(method_name, section, epoch, device, torch.channels_last)
    rounded = take_steps(method_name, section, epoch, device, torch.channels_last, bf16=True)
    assert rounded.keys() == exact.keys()
    for name, tensor in rounded.items():
        assert tensor.dtype == exact[name].dtype, name
        assert bool(tensor.isfinite().all()), name
    assert any(not torch.equal(rounded[name], exact[name]) for name in rounded)
