"""Networks: published sizes, initial weights, and weights from files."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.transforms.v2.functional import normalize

from common.errors import DataError, UsageError
from training.config import NetworkConfig
from training.features.extract import backbone
from training.models.library import OWN_SCALE, imagenet_accuracy, rescaled
from training.models.registry import NETWORKS, make_network
from training.models.weights import fill_network, read_weights
from training.models.wide_resnet import WideUnit


def test_preact_resnet18_has_the_published_size() -> None:
    net = make_network(NetworkConfig("preact_resnet18", 64), 10, seed=0)
    # 11,171,146 in kuangliu/pytorch-cifar, which leaves out the paper's last batch norm of 512 channels
    assert sum(parameter.numel() for parameter in net.parameters()) == 11_171_146 + 2 * 512


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_start_from_their_seed_and_give_one_logit_per_class(name: str) -> None:
    one, same, other = (make_network(NetworkConfig(name, 4), 7, seed) for seed in (0, 0, 1))
    assert one(torch.zeros(2, 3, 32, 32)).shape == (2, 7)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("name", NETWORKS)
def test_statistics_of_batch_norms_follow_short_runs(name: str) -> None:
    """After 100 steps, 0.003 % of the initial statistics are left; with a momentum of 0.01, 37 %."""
    norms = [
        norm
        for norm in make_network(NetworkConfig(name, 4), 7, 0).modules()
        if isinstance(norm, nn.BatchNorm2d)
    ]
    assert norms
    assert all(norm.momentum == 0.1 for norm in norms)


def test_the_released_network_has_the_size_of_the_released_network() -> None:
    net = make_network(NetworkConfig("wide_resnet32", 64), 10, seed=0)
    assert sum(parameter.numel() for parameter in net.parameters()) == 29_442_378
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.1)}


def test_the_wide_units_shortcut_pools_and_pads() -> None:
    unit = WideUnit(2, 4, stride=2, first=False).eval()
    nn.init.zeros_(unit.conv2.weight)
    x = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    out = unit(x)
    assert out.shape == (1, 4, 2, 2)
    assert torch.equal(out[:, [0, 3]], torch.zeros(1, 2, 2, 2))
    assert torch.allclose(out[0, 1, 0, 0], x[0, 0, :2, :2].mean())


def test_an_unknown_network_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'preact_resnet18'"):
        make_network(NetworkConfig("preact_resnet", 4), 2, 0)


SMALL = "torchvision/shufflenet_v2_x0_5"


def test_any_torchvision_network_trains_on_our_classes_from_a_local_file(tmp_path: Path) -> None:
    donor = make_network(NetworkConfig(SMALL), 5, seed=1)
    tensors = {name: tensor.contiguous() for name, tensor in donor.state_dict().items()}
    save_file(tensors, tmp_path / "weights.safetensors")
    torch.save(donor.state_dict(), tmp_path / "weights.pth")
    for file in ("weights.safetensors", "weights.pth"):
        net = make_network(NetworkConfig(SMALL, weights=str(tmp_path / file)), 3, seed=2)
        mine = {name.removeprefix("network."): tensor for name, tensor in net.state_dict().items()}
        assert {n for n, t in mine.items() if t.shape != tensors[n].shape} == {"fc.weight", "fc.bias"}
        assert all(torch.equal(t, tensors[n]) for n, t in mine.items() if not n.startswith("fc."))
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    expected = net.eval().network((images / 2 + 0.5 - MEAN) / DEVIATION)  # type: ignore[operator]
    assert torch.allclose(net(images), expected, atol=1e-5)


MEAN, DEVIATION = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    state = net.state_dict()

    def refused(tensors: dict[str, Tensor]) -> str:
        with pytest.raises(DataError, match="weights of another network") as error:
            fill_network(net, tensors, "weights.pth")
        return str(error.value)

    assert "1.bias" in refused({name: one for name, one in state.items() if name != "1.bias"})
    assert "0.weight" in refused(state | {"0.weight": torch.zeros(4, 7)})
    for kind in (torch.complex64, torch.int8, torch.bool):
        assert "0.weight" in refused(state | {"0.weight": state["0.weight"].to(kind)})
    fill_network(net, {name: one.to(torch.bfloat16) for name, one in state.items()}, "weights.pth")
    with pytest.raises(UsageError, match="has no pretrained weights"):
        make_network(NetworkConfig("small_cnn", weights="pretrained"), 3, 0)


@pytest.mark.parametrize("name", ["torchvision/resnet18", "timm/resnet18"])
@pytest.mark.parametrize("kind", [OSError, RuntimeError])
def test_weights_that_cannot_be_downloaded_are_an_error_with_a_remedy(
    name: str, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """urllib raises an OSError without a connection, torch a RuntimeError for a wrong digest."""

    def fail(*_: Any, **__: Any) -> None:
        raise kind("no route to host\nat length")

    timm = pytest.importorskip("timm")
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fail)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(
        DataError,
        match=rf"{name} could not be downloaded \({kind.__name__}: no route to host\); set network.w",
    ):
        make_network(NetworkConfig(name, weights="pretrained"), 3, 0)


def _without_counts(name: str) -> str | None:
    return None if name.endswith("num_batches_tracked") else name


def _old_dense_layer(name: str) -> str | None:
    return re.sub(r"(denselayer\d+\.(?:norm|relu|conv))([12])", r"\1.\2", name)


def _old_mlp(name: str) -> str | None:
    return re.sub(r"mlp\.([03])\.", lambda found: f"mlp.linear_{1 + int(found[1]) // 3}.", name)


@pytest.mark.parametrize(
    ("make", "old_name"),
    [
        (torchvision.models.resnet18, _without_counts),
        (
            partial(torchvision.models.DenseNet, 4, (1, 1), 4),
            lambda name: _without_counts(name) and _old_dense_layer(name),
        ),
        (partial(torchvision.models.VisionTransformer, 32, 16, 1, 1, 8, 8), _old_mlp),
        (
            torchvision.models.mnasnet0_5,
            None,
        ),  # its names have not changed, but it needs the version beside them
    ],
)
@pytest.mark.parametrize("classes", [3, 5])
def test_files_of_older_versions_of_torchvision_fit(
    make: Callable[..., nn.Module], old_name: Callable[[str], str | None] | None, classes: int, tmp_path: Path
) -> None:
    """As torchvision publishes them: without counts of batches, DenseNets and vision transformers with older names."""
    donor, network = make(num_classes=5), make(num_classes=classes)
    state: dict[str, Tensor] = donor.state_dict()
    if old_name:
        state = {old: tensor for name, tensor in state.items() if (old := old_name(name))}
    torch.save(state, tmp_path / "old.pth")
    fill_network(network, read_weights(tmp_path / "old.pth"), "old.pth")
    for name, parameter in network.named_parameters():
        theirs = donor.get_parameter(name)
        if parameter.shape == theirs.shape:
            assert torch.equal(parameter, theirs), name


@pytest.mark.parametrize("name", torchvision.models.list_models(module=torchvision.models))
def test_inputs_are_scaled_as_the_weights_of_torchvision_expect_them(name: str) -> None:
    """Weights of most networks expect the mean and deviation of ImageNet, those of efficientnet_v2_l do not."""
    pixels = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    network = rescaled(nn.Identity(), f"torchvision/{name}")
    if name in OWN_SCALE:  # torchvision changes the scale within these networks
        assert torch.equal(network(2 * pixels - 1), 2 * pixels - 1)
        return
    preset = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    expected = normalize(pixels, preset.mean, preset.std)
    assert torch.allclose(network(2 * pixels - 1), expected, atol=1e-6)


@pytest.mark.parametrize("versions", [5, {"": 5}, {"1": {"version": "x"}}])
def test_a_damaged_record_of_versions_is_an_error(versions: object, tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    state = net.state_dict()
    state._metadata = versions  # type: ignore[attr-defined]
    torch.save(state, tmp_path / "odd.pth")
    with pytest.raises(DataError, match=r"odd\.pth: weights of another network"):
        fill_network(net, read_weights(tmp_path / "odd.pth"), "odd.pth")
    torch.save({5: torch.zeros(1)}, tmp_path / "numbers.pth")
    with pytest.raises(DataError, match="not a state dictionary"):
        read_weights(tmp_path / "numbers.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    "make", [partial(torchvision.models.DenseNet, 4, (1, 1), 4), torchvision.models.mnasnet0_5]
)
def test_averages_of_files_fit_in_both_formats(
    make: Callable[..., nn.Module], suffix: str, tmp_path: Path
) -> None:
    """Averages have fractions of counts, and files of safetensors no versions, which MNASNet needs."""
    donor, network = make(num_classes=5), make(num_classes=3)
    averages = {name: tensor / 2 + tensor / 2 for name, tensor in donor.state_dict().items()}
    if suffix == ".pth":
        torch.save(averages, tmp_path / "weights.pth")
    else:
        save_file(averages, tmp_path / "weights.safetensors")
    fill_network(network, read_weights(tmp_path / f"weights{suffix}"), "weights")
    first, theirs = next(network.parameters()), next(donor.parameters())
    assert torch.equal(first, theirs)


class TwoHeads(nn.Module):
    """Two heads, and an auxiliary one that is part of the network, as in deit_tiny_distilled and volo_d1 of timm."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Linear(3, width)
        self.head, self.head_dist, self.aux_head = (nn.Linear(width, classes) for _ in range(3))


def test_all_heads_of_a_network_may_have_another_number_of_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, donor = TwoHeads(4, 2), TwoHeads(4, 10)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    fill_network(net, donor.state_dict(), "weights.pth")
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, (donor.state_dict() if "stem" in name else before)[name])
    same = TwoHeads(4, 10)
    fill_network(same, donor.state_dict() | {"aux1.fc.weight": torch.zeros(1)}, "weights.pth")
    assert all(torch.equal(tensor, donor.state_dict()[name]) for name, tensor in same.state_dict().items())
    for other in (TwoHeads(5, 10).state_dict(), donor.state_dict() | {"head.bias": torch.zeros(9)}):
        with pytest.raises(DataError, match="weights of another network"):
            fill_network(net, other, "weights.pth")
    monkeypatch.setitem(NETWORKS, "two_heads", TwoHeads)
    torch.save(donor.state_dict(), tmp_path / "weights.pth")
    with pytest.raises(
        UsageError, match="a network with one dense layer for its classes, which two_heads does not"
    ):
        backbone(NetworkConfig("two_heads", 4, str(tmp_path / "weights.pth"), frozen=True))


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return print, ("run",)

    torch.save({"weight": Evil()}, tmp_path / "evil.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    for name in ("evil.pth", "list.pth", "missing.pth"):
        with pytest.raises(DataError, match="not a readable file of weights"):
            read_weights(tmp_path / name)


# torch warns when it makes or reads such tensors
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("what", ["sparse", "quantized", "meta", "number as name"])
def test_a_file_of_anything_but_dense_tensors_is_refused(tmp_path: Path, what: str) -> None:
    weight = torch.ones(2, 3)
    contents: dict[str, dict[object, Tensor]] = {
        "sparse": {"weight": weight.to_sparse()},
        "quantized": {"weight": torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8)},
        "meta": {"weight": weight.to("meta")},
        "number as name": {"weight": weight, 5: weight},
    }
    torch.save(contents[what], tmp_path / "weights.pth")
    with pytest.raises(DataError, match="not a state dictionary of names and dense tensors"):
        read_weights(tmp_path / "weights.pth")


def test_unknown_library_networks_are_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"torchvision has no network 'resnet5'; did you mean .*resnet50"):
        make_network(NetworkConfig("torchvision/resnet5"), 3, 0)
    assert imagenet_accuracy("torchvision/resnet5") is None
    assert imagenet_accuracy("torchvision/resnet18") == pytest.approx(0.69758)


@pytest.mark.parametrize("name", ["resnet50", "resnet101", "mobilenet_v2", "inception_v3", "efficientnet_b5"])
def test_five_of_the_papers_networks_are_torchvisions(name: str) -> None:
    import torchvision

    assert name in torchvision.models.list_models(module=torchvision.models)
