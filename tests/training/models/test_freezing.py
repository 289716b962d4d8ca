"""Networks whose first modules are frozen: what moves, what is saved for the backward pass, and resumption."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from common.errors import UsageError
from tests.training.run_helpers import equal, run_until, timeless
from training import checkpoint, metrics
from training.config import AugmentConfig, NetworkConfig, OptimizerConfig, TrainConfig
from training.data.shards import ImageSet
from training.methods.interface import RunFacts
from training.methods.registry import make_method
from training.models.freezing import evaluation_mode, freeze_before, train_mode
from training.models.registry import make_network
from training.models.rescaled import HALF, Rescaled
from training.models.synchronized_batch_norm import synchronize_batch_norms
from training.optimizer import make_optimizer
from training.trainer import Trainer

CPU = torch.device("cpu")
Make = Callable[..., TrainConfig]
RESIZED = AugmentConfig(0, resize=32)


def donor(folder: Path, name: str) -> str:
    """A file of weights whose running statistics are not those of a new network."""
    network = make_network(NetworkConfig(name, 4), 3, seed=5)
    with torch.no_grad():
        network(torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    path = folder / f"{name.replace('/', '-')}.safetensors"
    save_file({key: tensor.contiguous() for key, tensor in network.state_dict().items()}, path)
    return str(path)


def partly_frozen(
    make: Make, folder: Path, train_from: str, name: str = "small_cnn", **changes: Any
) -> TrainConfig:
    return make(network=NetworkConfig(name, 4, donor(folder, name), train_from=train_from), **changes)


@pytest.mark.parametrize(
    ("name", "train_from", "method"),
    [
        ("small_cnn", "features.3", "vanilla"),
        ("small_cnn", "features.3", "mentormix"),
        ("small_cnn", "head", "dividemix"),
        ("small_cnn", "head", "dropout"),
        ("torchvision/shufflenet_v2_x0_5", "stage3", "vanilla"),
        ("tf_efficientnet_lite0", "blocks.5", "vanilla"),
    ],
)
def test_frozen_modules_keep_weights_and_statistics_and_all_others_move(
    sets: tuple[ImageSet, ImageSet],
    tiny_config: Make,
    tmp_path: Path,
    name: str,
    train_from: str,
    method: str,
) -> None:
    config = partly_frozen(tiny_config, tmp_path, train_from, name, epochs=2, method=method, augment=RESIZED)
    run = Trainer(config, *sets, CPU)
    before = {key: tensor.clone() for key, tensor in run.networks[0].state_dict().items()}
    run.run(tmp_path / "run")
    stored = load_file(checkpoint.newest(tmp_path / "run") or "")
    names = [key.removeprefix("network.") for key in before]
    first = next(i for i, key in enumerate(names) if key.startswith(f"{train_from}."))
    for number, (key, start) in enumerate(before.items()):
        moved = not torch.equal(stored[f"network0.{key}"], start)
        assert moved == (number >= first), key
        assert torch.equal(stored.get(f"average0.{key}", start), start) or number >= first
        assert f"momentum.network0.{key}" not in stored or number >= first


def test_a_resumed_run_with_layer_wise_rates_equals_an_undisturbed_one(
    sets: tuple[ImageSet, ImageSet], tiny_config: Make, tmp_path: Path
) -> None:
    optimizer = OptimizerConfig(name="adamw", learning_rate=1e-3, layer_decay=0.7)
    config = partly_frozen(
        tiny_config, tmp_path, "features.3", method="mentormix", optimizer=optimizer, epochs=3
    )
    Trainer(config, *sets, CPU).run(tmp_path / "whole")
    for step in (2, 4):  # within an epoch
        run_until(step, config, sets, tmp_path / "parts")
    Trainer(config, *sets, CPU).run(tmp_path / "parts", resume=True)
    assert equal(tmp_path / "whole", tmp_path / "parts")
    whole, parts = (timeless(metrics.read_rows(tmp_path / name)) for name in ("whole", "parts"))
    assert whole == parts


def test_nothing_of_the_frozen_part_is_kept_for_the_backward_pass() -> None:
    def saved_bytes(train_from: str) -> int:
        network = make_network(NetworkConfig("preact_resnet18", 8), 3, seed=0)
        freeze_before(network, train_from)
        train_mode(network)
        sizes: list[int] = []

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            sizes.append(tensor.untyped_storage().nbytes())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            network(torch.randn(4, 3, 32, 32)).sum().backward()
        frozen = [parameter for parameter in network.parameters() if not parameter.requires_grad]
        assert all(parameter.grad is None for parameter in frozen)
        return sum(sizes)

    assert saved_bytes("head") < saved_bytes("blocks.4") < saved_bytes("") / 2


def test_modes_are_restored_module_by_module() -> None:
    network = make_network(NetworkConfig("small_cnn", 2), 3, seed=0)
    freeze_before(network, "features.3")
    train_mode(network)
    modes = [module.training for module in network.modules()]
    norms = [module.training for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms == [False, True, True, True, True]
    with evaluation_mode([network]):
        assert not any(module.training for module in network.modules())
    assert [module.training for module in network.modules()] == modes
    synchronized = train_mode(synchronize_batch_norms(network, 2))
    norms = [module.training for module in synchronized.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms == [False, True, True, True, True]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("heat", "has no module 'heat' with parameters; did you mean head"),
        ("zzz", "has no module 'zzz' with parameters; give one of features.1, "),
        ("features.0", "'features.0' is the first module of the network, so nothing would be frozen"),
    ],
)
def test_a_name_before_which_there_is_nothing_is_an_error(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=rf"network.train_from: .*{message}"):
        freeze_before(make_network(NetworkConfig("small_cnn", 2), 3, seed=0), name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_from": "head"}, "needs pretrained weights"),
        ({"train_from": "head", "weights": "w", "frozen": True}, "exclude"),
    ],
)
def test_settings_that_freeze_nothing_useful_are_errors(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NetworkConfig("small_cnn", **changes)


def test_runs_without_frozen_modules_keep_their_names() -> None:
    assert TrainConfig().digest("a") == "1d1eecd7ab0e11df"
    assert (
        TrainConfig(network=NetworkConfig("small_cnn", 8, "w.pth", frozen=True)).digest()
        == "c1684bd413c9a39b"
    )


def test_the_head_of_a_rescaled_network_has_the_highest_rate() -> None:
    """timm's names of stem and head have no digits; they must not become one stage through a common prefix."""
    inner = nn.Sequential()
    for name in ("conv_stem", "blocks", "classifier"):
        inner.add_module(
            name,
            nn.Sequential(nn.Linear(1, 1, bias=False)) if name == "blocks" else nn.Linear(1, 1, bias=False),
        )
    network = Rescaled(inner, HALF, HALF)
    config = OptimizerConfig(layer_decay=0.5, weight_decay=0.0)
    optimizer = make_optimizer(config, make_method(TrainConfig(), RunFacts(2, 10, CPU)), [network])
    before = [parameter.item() for parameter in network.parameters()]
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step(0.1)
    moved = [old - new.item() for old, new in zip(before, network.parameters(), strict=True)]
    assert moved == pytest.approx([0.025, 0.05, 0.1], rel=1e-4)
