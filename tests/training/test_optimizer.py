"""The parts of the loop: optimizer, averaging, order, augmentation, networks, configuration."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.optim.sgd import sgd
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.swin_transformer import SwinTransformerBlockV2

from common.errors import UsageError
from training.averaging import AveragedWeights
from training.config import METHODS, OptimizerConfig, TrainConfig
from training.method_config import MentorMixConfig
from training.methods.interface import RunFacts
from training.methods.registry import make_method
from training.optimizer import AdamW, MomentumSGD, layer_factors, learning_rate, make_optimizer
from training.recipes.registry import RECIPES, configure
from training.recipes.released_settings import CIFAR10, mentormix_for

CPU = torch.device("cpu")


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


@pytest.mark.parametrize(("second_reweight", "shrinks"), [(False, True), (True, False)])
def test_weight_decay_is_l2_on_kernels_only_and_off_with_second_reweighting(
    second_reweight: bool, shrinks: bool
) -> None:
    config = TrainConfig(method="mentormix", mentormix=MentorMixConfig(second_reweight=second_reweight))
    net = network()
    decay = make_method(config, RunFacts(2, 10, CPU)).weight_decay(0.01)
    optimizer = MomentumSGD(dict(net.named_parameters()), 0.9, decay)
    before = [parameter.detach().clone() for parameter in net.parameters()]
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step(0.5)
    for old, new in zip(before, net.parameters(), strict=True):
        factor = 1 - 0.5 * 0.01 if shrinks and old.ndim >= 2 else 1.0  # the gradient of ½‖W‖² is W
        assert torch.allclose(new, old * factor, rtol=1e-6, atol=0)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize(
    "make",
    [
        partial(torchvision.models.VisionTransformer, 32, 16, 1, 1, 8, 8),
        partial(
            torchvision.models.SwinTransformer, [2, 2], 8, [2], [1], [2, 2], block=SwinTransformerBlockV2
        ),
        partial(torchvision.models.SwinTransformer, [2, 2], 8, [2], [1], [2, 2]),
        partial(torchvision.models.ConvNeXt, [CNBlockConfig(8, None, 2)]),
        torchvision.models.squeezenet1_1,
    ],
)
def test_only_kernels_of_convolutions_and_dense_layers_decay(
    make: Callable[[], nn.Module], optimizer: Literal["sgd", "adamw"]
) -> None:
    """Position embeddings, class tokens and layer scales have two dimensions or more, too."""
    net = make()
    layers = (nn.Conv2d, nn.Linear, nn.MultiheadAttention)
    owners = dict(net.named_modules())
    method = make_method(TrainConfig(), RunFacts(2, 10, CPU))
    config = OptimizerConfig(name=optimizer, weight_decay=0.01)
    for parameter in net.parameters():
        nn.init.ones_(parameter)
        parameter.grad = torch.zeros_like(parameter)
    make_optimizer(config, method, [net]).step(0.5)
    for name, parameter in net.named_parameters():
        owner, _, leaf = name.rpartition(".")
        is_kernel = isinstance(owners[owner], layers) and "bias" not in leaf
        assert bool((parameter < 1).all()) == is_kernel, name
        assert is_kernel or bool((parameter == 1).all())


def test_steps_equal_those_of_torchs_own_sgd() -> None:
    net = network()
    theirs = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
    momenta: dict[str, list[Tensor | None]] = {name: [None] for name in theirs}
    optimizer = MomentumSGD(dict(net.named_parameters()), 0.9, 0.1)
    for step in range(4):
        rng = torch.Generator().manual_seed(step)
        for name, parameter in net.named_parameters():
            parameter.grad = torch.randn(parameter.shape, generator=rng)
            decay = 0.1 if parameter.ndim >= 2 else 0.0
            sgd(
                [theirs[name]], [parameter.grad.clone()], momenta[name], foreach=False, lr=0.3, momentum=0.9,
                weight_decay=decay, dampening=0, nesterov=False, maximize=False,
            )  # fmt: skip
        optimizer.step(0.3)
    for name, parameter in net.named_parameters():
        assert torch.allclose(parameter, theirs[name], rtol=1e-6)
        assert parameter.grad is None


def test_averaged_weights_follow_the_warmed_up_decay() -> None:
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    averages = AveragedWeights(net, decay=0.3)
    expected = 0.0
    for step in range(6):
        with torch.no_grad():
            net.weight.fill_(step + 1.0)
        averages.update(step)
        decay = min(0.3, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * (step + 1.0)
        assert averages.network.weight.item() == pytest.approx(expected)


def test_evaluation_uses_the_current_running_statistics_and_leaves_training_alone() -> None:
    net = network().train()
    averages = AveragedWeights(net, decay=0.9)
    net(torch.randn(8, 3, 3, 3))
    assert torch.equal(averages.for_evaluation()[1].running_mean, net[1].running_mean)
    assert averages.network[1].running_mean.data_ptr() != net[1].running_mean.data_ptr()


def test_cosine_schedule_falls_from_the_full_rate_to_nothing() -> None:
    config = OptimizerConfig(learning_rate=0.2, schedule="cosine")
    rates = [learning_rate(config, step, 10, 4) for step in range(40)]
    assert rates[0] == 0.2
    assert rates[20] == pytest.approx(0.1)
    assert rates[-1] == pytest.approx(0.1 * (1 + math.cos(math.pi * 39 / 40)))
    assert rates == sorted(rates, reverse=True)


def test_step_schedule_and_warmup() -> None:
    config = OptimizerConfig(
        learning_rate=1.0, schedule="step", milestones=(2, 3), decay=0.1, warmup_epochs=1
    )
    rates = [learning_rate(config, step, 4, 5) for step in range(20)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[8:13] == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.01])


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("method", METHODS)
def test_recipes_configure_every_method(recipe: str, method: str) -> None:
    config = configure(recipe, 0.4, {"method": method, "seed": 3})
    assert (config.method, config.seed) == (method, 3)
    estimated = (2.0, "auto") if recipe in ("tiny", "cifar10n_cpu", "fine_tune") else None
    assert (config.mentormix.alpha, config.mentormix.loss_percentile) in (estimated, (8.0, 0.5), (8.0, 0.6))
    assert not config.mentormix.second_reweight


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"epochz": 3}, "did you mean 'epochs'"),
        ({"method": "mentormx"}, "mentormx.*not one of.*mentormix"),
        ({"mentormix": {"alpha": 0}}, "alpha must be above 0"),
        ({"mentormix": {"loss_percentile": 60}}, r"from 0 to 1"),
        ({"batch_size": "many"}, "batch_size: expected int"),
        ({"precision": "fp16"}, "not one of"),
        ({"threads": 100_000}, "threads must be 0 to 1,024"),
    ],
)
def test_mistakes_in_the_configuration_name_the_key(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        configure("tiny", 0.4, overrides)


@pytest.mark.parametrize(("level", "nearest"), [(0.0, 0.2), (0.3, 0.2), (0.4, 0.4), (0.5, 0.4), (0.8, 0.8)])
def test_published_settings_go_by_the_nearest_level_the_lower_of_two(level: float, nearest: float) -> None:
    alpha, percentile, second = CIFAR10[nearest]
    found = mentormix_for(CIFAR10, level)
    assert (found.alpha, found.loss_percentile, found.second_reweight) == (alpha, percentile, second)


def test_a_run_is_named_by_what_decides_it_and_by_nothing_else() -> None:
    base = TrainConfig(method="vanilla")
    assert base.digest("data") == TrainConfig(method="vanilla", mentormix=MentorMixConfig(alpha=1.0)).digest(
        "data"
    )
    assert base.digest("data") == TrainConfig(method="vanilla", keep_checkpoints=3).digest("data")
    others = [
        TrainConfig(method="vanilla", seed=1),
        TrainConfig(method="vanilla", epochs=5),
        TrainConfig(method="mixup"),
    ]
    digests = {base.digest("data"), base.digest("other"), *(one.digest("data") for one in others)}
    assert len(digests) == 5


def test_adamw_is_torchs_own_with_decay_on_kernels_alone() -> None:
    net, peer = network(), network()
    peer.load_state_dict(net.state_dict())
    kernels = [parameter for parameter in peer.parameters() if parameter.ndim >= 2]
    others = [parameter for parameter in peer.parameters() if parameter.ndim < 2]
    theirs = torch.optim.AdamW(
        [{"params": kernels, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    )
    ours = AdamW(dict(net.named_parameters()), 0.1)
    for step, rate in enumerate((0.1, 0.05, 0.01)):
        source = torch.Generator().manual_seed(step)
        for one, other in zip(net.parameters(), peer.parameters(), strict=True):
            one.grad = torch.randn(one.shape, generator=source)
            other.grad = one.grad.clone()
        for group in theirs.param_groups:
            group["lr"] = rate
        theirs.step()
        ours.step(rate)
    for one, other in zip(net.parameters(), peer.parameters(), strict=True):
        assert torch.allclose(one, other, rtol=1e-6)
        assert one.grad is None


def test_adamw_groups_parameters_with_equal_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU the time of a step grows with the number of groups."""
    given: list[list[dict[str, Any]]] = []
    torchs = torch.optim.AdamW

    def record(groups: list[dict[str, Any]], **others: Any) -> torch.optim.AdamW:
        given.append(groups)
        return torchs(groups, **others)

    monkeypatch.setattr(torch.optim, "AdamW", record)
    shapes = {"weight": (2, 2), "bias": (2,)}
    parameters = {
        f"{layer}.{name}": nn.Parameter(torch.zeros(shape))
        for layer in range(50)
        for name, shape in shapes.items()
    }
    AdamW(parameters, 0.1, factors={name: 0.5 for name in parameters if name.startswith("1")})
    [groups] = given
    assert len(groups) == 4  # with and without decay, at two rates
    assert sum(len(group["params"]) for group in groups) == len(parameters)


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_layer_wise_rates_fall_from_the_head_to_the_stem(kind: str) -> None:
    names = [
        "stem.weight",
        "blocks.0.1.weight",
        "blocks.0.2.weight",
        "blocks.1.0.weight",
        "head.weight",
        "head.bias",
    ]
    assert list(layer_factors(names, 0.5).values()) == [0.125, 0.25, 0.25, 0.5, 1.0, 1.0]
    vit = [
        "conv_proj.weight",
        "encoder.pos_embedding",
        "encoder.layers.encoder_layer_0.ln_1.weight",
        "encoder.layers.encoder_layer_1.ln_1.weight",
        "encoder.ln.weight",  # the last norm, not a part of the stem
        "heads.head.weight",
    ]
    assert list(layer_factors(vit, 0.5).values()) == [1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1]
    net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    method = make_method(TrainConfig(), RunFacts(2, 10, CPU))
    optimizer = make_optimizer(OptimizerConfig(name=kind, layer_decay=0.5, weight_decay=0.0), method, [net])  # type: ignore[arg-type]
    before = [parameter.item() for parameter in net.parameters()]
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step(0.1)
    moved = [old - new.item() for old, new in zip(before, net.parameters(), strict=True)]
    assert moved == pytest.approx([0.05, 0.1], rel=1e-4)


@pytest.mark.parametrize(("epochs", "every", "expected"), [(512, 0, 10), (30, 0, 1), (300, 7, 7)])
def test_accuracy_is_measured_about_fifty_times_by_default(epochs: int, every: int, expected: int) -> None:
    assert TrainConfig(epochs=epochs, evaluate_every=every).evaluation_interval == expected
