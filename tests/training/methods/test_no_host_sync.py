"""Training steps need no value on the host and call only functions with deterministic GPU kernels.

The steps run on meta tensors, which have no values: `.item()`, Boolean masks and `if tensor:` raise. On a GPU each of these
would wait for all earlier work. Tensors on another device raise, too. Both precisions are tested; torch.autocast rejects
meta tensors, so Bf16Autocast casts the inputs of the layers that it casts.
"""

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode

from tests.training.method_cases import METHOD_CASES
from tests.training.methods.linear_student import CLASSES, B
from training.averaging import AveragedWeights
from training.config import AugmentConfig, TrainConfig
from training.data.augment import Augmenter
from training.data.image_stores import ImageStore, ResidentImages
from training.features.vectors import FeatureVectors
from training.methods.clean_share import CleanShareEstimate
from training.methods.interface import Batch, RunFacts
from training.methods.registry import make_method
from training.metrics import EpochTally
from training.models.student import Student
from training.optimizer import MomentumSGD

META, CPU = torch.device("meta"), torch.device("cpu")
REFUSED = {
    "histc",
    "kthvalue",
    "median",
    "nanmedian",
    "put_",
}  # on a GPU, if kernels have to be deterministic


class Bf16Autocast(TorchFunctionMode):
    """Run convolutions and dense layers in bf16, as torch.autocast does."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.conv2d, linear):
            args = [arg.bfloat16() if isinstance(arg, Tensor) else arg for arg in args]
        return func(*args, **(kwargs or {}))


class MetaStudent(Student):
    """A student for meta tensors, which torch.autocast rejects."""

    def __call__(self, images: Tensor) -> Tensor:
        with Bf16Autocast() if self.bf16 else nullcontext():
            logits: Tensor = self.network(images)
        assert logits.dtype == (torch.bfloat16 if self.bf16 else torch.float32)
        return logits.float()


class Deterministic(TorchFunctionMode):
    """Raise for what torch.use_deterministic_algorithms refuses on a GPU, of the functions that a method may call."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        floating = name in ("cumsum", "cumsum_") and args[0].is_floating_point()
        weighted = name == "bincount" and (len(args) > 1 or "weights" in (kwargs or {}))
        if floating or weighted or name in REFUSED:
            raise RuntimeError(f"{name} has no deterministic implementation")
        return func(*args, **(kwargs or {}))


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, CLASSES)).to(META)


def batch(epoch: int, draws: dict[str, Tensor]) -> Batch:
    images = torch.empty(B, 3, 4, 4, device=META)
    index = torch.empty(B, dtype=torch.long, device=META)
    labels = index.clone()
    return Batch(
        images,
        labels,
        70,
        draws,
        index,
        epoch=epoch,
        second_view=images.clone(),
        progress=0.7,
        phase_done=0.5,
    )


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize(("name", "section"), METHOD_CASES)
@pytest.mark.parametrize("epoch", [0, 60])
def test_a_step_needs_no_value_and_is_deterministic(
    name: str, section: dict[str, Any], epoch: int, bf16: bool
) -> None:
    config = TrainConfig(method=name, **section)  # type: ignore[arg-type]
    method = make_method(config, RunFacts(CLASSES, 40, META, 100))
    drawn = method.draw((1, B), torch.Generator().manual_seed(0))
    networks = [network() for _ in range(method.networks)]
    for one in networks:
        method.prepare(one)
    students = [MetaStudent(one, bf16) for one in networks]
    one = batch(epoch, {key: values[0].to(META) for key, values in drawn.items()})
    with Deterministic():
        outcome = method.step(students, one)
        outcome.loss.backward()
    parameters = dict(networks[0].named_parameters())
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in parameters.values())
    average = AveragedWeights(networks[0], 0.9)
    MomentumSGD(parameters, 0.9, 1e-4).step(0.1)
    average.update(3)
    EpochTally(META).add(outcome.weights, outcome.losses, outcome.differences, one.labels > 0)


def test_estimating_the_clean_share_needs_no_value() -> None:
    CleanShareEstimate(None, 0.9, META).update(torch.empty(B, CLASSES, device=META), batch(0, {}))


def test_augmentation_needs_no_value() -> None:
    augmenter = Augmenter(AugmentConfig(crop_padding=1, flip=True, resize=8, size=6, color=True), 9, 9, CPU)
    draws = augmenter.draw(B, 0, 0, CPU)
    moved = Augmenter(augmenter.config, 9, 9, META)
    colors = draws.colors
    assert colors is not None
    on_meta = type(draws)(
        draws.top.to(META), draws.left.to(META), draws.flip.to(META),
        type(colors)(*(getattr(colors, name).to(META) for name in colors.__dataclass_fields__)),
    )  # fmt: skip
    images = torch.empty(B, 3, 9, 9, dtype=torch.uint8, device=META)
    assert moved.train(images, on_meta, slice(0, B)).shape == (B, 3, 6, 6)


class Copies(TorchFunctionMode):
    """Raise for copies from the CPU that wait for the device."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        waits = func is Tensor.to and args[0].device == CPU and not (kwargs or {}).get("non_blocking")
        assert not waits, "a copy waits for the device"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "store",
    [
        ResidentImages(torch.empty(40, 3, 8, 8, dtype=torch.uint8, device=META)),
        FeatureVectors(torch.empty(40, 3, device=META)),
    ],
)
def test_batches_of_a_resident_set_wait_for_no_earlier_batch(store: ImageStore) -> None:
    with Copies():
        assert [len(batch) for batch in store.batches(torch.arange(40).split(16))] == [16, 16, 8]


@pytest.mark.parametrize(
    "ask", [Tensor.item, Tensor.tolist, bool, lambda t: torch.ones(1, device=META)[t > 0]]
)
def test_reading_a_value_raises(ask: Any) -> None:
    with pytest.raises((RuntimeError, NotImplementedError)):
        ask(torch.ones(1, device=META))


def test_a_running_sum_of_floats_is_refused_as_on_a_gpu() -> None:
    with Deterministic():
        assert torch.ones(3, dtype=torch.long).cumsum(0).tolist() == [1, 2, 3]
        with pytest.raises(RuntimeError, match="cumsum has no deterministic implementation"):
            torch.ones(3).cumsum(0)
