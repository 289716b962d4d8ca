"""Features of frozen networks: correct, computed once, reproducible; and heads trained on them."""

import io
import shutil
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from common.errors import DataError, UsageError
from common.locks import wait_for_lock
from tests.training.study.small_study import QUICK, small_study
from training import checkpoint, export_run, weight_decay_selection
from training.__main__ import main
from training.config import AugmentConfig, NetworkConfig, OptimizerConfig, TrainConfig
from training.data.shards import ImageSet, load, load_pair
from training.features import extract
from training.features.extract import backbone, with_features
from training.features.store import FeatureStore
from training.features.vectors import FeatureVectors
from training.models.efficientnet_lite import VARIANTS, SameConv2d
from training.models.registry import make_head, make_network
from training.models.rescaled import Rescaled
from training.run_directory import CONFIG
from training.study import grid, plan
from training.train import run_training

CPU = torch.device("cpu")
DATA = Path(__file__).parents[4] / "shared" / "data"
LITE = "tf_efficientnet_lite0"
Make = Callable[..., TrainConfig]


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with weights, drawn at random, under the name of their network."""
    folder = tmp_path_factory.mktemp("weights")
    network = make_network(NetworkConfig(LITE), 5, seed=1)
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(state, folder / f"{LITE}.safetensors")
    return folder


@pytest.fixture
def probe(tiny_config: Make, weights: Path) -> Make:
    def make(**changes: Any) -> TrainConfig:
        network = NetworkConfig(LITE, weights=str(weights), frozen=True)
        base: dict[str, Any] = {
            "network": network,
            "augment": AugmentConfig(0, flip=False, resize=16),
            "epochs": 2,
        }
        return tiny_config(**(base | changes))

    return make


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of images in each part that is stored."""
    counts: list[int] = []
    add = FeatureStore.add

    def counting(self: FeatureStore, digests: list[bytes], features: torch.Tensor) -> None:
        counts.append(len(digests))
        add(self, digests, features)

    monkeypatch.setattr(FeatureStore, "add", counting)
    return counts


@pytest.mark.parametrize(
    ("name", "parameters"), list(zip(VARIANTS, (4_652_008, 5_416_680, 6_092_072), strict=True))
)
def test_efficientnet_lite_has_the_published_size(name: str, parameters: int) -> None:
    """4.7, 5.4 and 6.1 M in the release's table; to the digit, the tensors that are released under timm's names."""
    assert sum(p.numel() for p in make_network(NetworkConfig(name), 1000, seed=0).parameters()) == parameters


def test_same_padding_puts_the_odd_border_last_as_tensorflow_does() -> None:
    """tf.nn.conv2d of 1…6 with a kernel of ones, stride 2 and "SAME" gives 6, 12, 11: no border before the first."""
    layer = SameConv2d(1, 1, 3, stride=2, bias=False)
    torch.nn.init.ones_(layer.weight)
    column = torch.arange(1.0, 7.0).view(1, 1, 6, 1).expand(1, 1, 6, 1)
    assert layer(column)[0, 0, :, 0].tolist() == [6, 12, 11]


@pytest.mark.skipif(not (DATA / "efficientnet-lite").is_dir(), reason="the real weights are not here")
def test_the_released_weights_know_a_t_shirt() -> None:
    config = NetworkConfig(LITE, weights=str(DATA / "efficientnet-lite"))
    network = make_network(config, 1000, seed=0).eval()
    jersey, pictures = 610, []  # "jersey, T-shirt, tee shirt" among the ImageNet classes
    with tarfile.open(DATA / "photos" / "clothing.tar") as archive:
        shirts = [one for one in archive.getmembers() if "test/t-shirt/" in one.name and one.isfile()][:8]
        for one in shirts:
            image = Image.open(io.BytesIO(archive.extractfile(one).read())).convert("RGB")  # type: ignore[union-attr]
            pictures.append(np.asarray(image.resize((224, 224))))
    images = torch.tensor(np.stack(pictures)).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.inference_mode():
        hits = (network(images).argmax(dim=1) == jersey).sum().item()
    assert hits >= 5


def test_features_are_what_goes_into_the_last_dense_layer(
    dataset: Path, probe: Make, weights: Path, tmp_path: Path
) -> None:
    config, data = probe(), load(dataset / "test", 0)
    [actual] = with_features(config, (data,), tmp_path / "features", CPU)
    assert isinstance(actual.images, FeatureVectors)
    network = make_network(replace(config.network, frozen=False), 5, seed=0).eval()
    inputs: list[torch.Tensor] = []
    network.classifier.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))  # type: ignore[union-attr]
    images = next(data.images.batches([torch.arange(4)]))
    with torch.inference_mode():
        network(extract.Augmenter(config.augment, 8, 8, CPU).evaluate(images))
    assert torch.allclose(actual.images.vectors[:4], inputs[0], atol=1e-5)
    assert torch.equal(actual.labels, data.labels)


def test_a_picture_is_computed_once_and_its_bits_do_not_depend_on_its_company(
    dataset: Path, probe: Make, tmp_path: Path, computed: list[int]
) -> None:
    config, blue = probe(), load(dataset / "blue-0.40", 0)
    [alone] = with_features(config, (blue.take(torch.arange(90, 96)),), tmp_path / "alone", CPU)
    [everyone] = with_features(config, (blue,), tmp_path / "features", CPU)
    assert torch.equal(alone.images.vectors, everyone.images.vectors[90:])  # type: ignore[attr-defined]
    assert computed == [6, 96]
    half = blue.take(torch.arange(0, 96, 2))
    [again, decoded] = with_features(config, (half, load(dataset / "blue-0.40")), tmp_path / "features", CPU)
    assert torch.equal(again.images.vectors, everyone.images.vectors[::2])  # type: ignore[attr-defined]
    assert torch.equal(decoded.images.vectors, everyone.images.vectors)  # type: ignore[attr-defined]
    assert computed == [
        6,
        96,
        96,
    ]  # decoded images have no encoded bytes left: they are stored by their pixels
    other = probe(augment=AugmentConfig(0, flip=False, resize=24))
    with_features(other, (blue,), tmp_path / "features", CPU)
    assert computed == [6, 96, 96, 96]


def test_an_interrupted_computation_goes_on_where_it_was(
    dataset: Path, probe: Make, tmp_path: Path, computed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract, "PART", 1)
    data, asked = load(dataset / "blue-0.40", 0), iter((False, True))
    with pytest.raises(KeyboardInterrupt):
        with_features(probe(), (data,), tmp_path / "features", CPU, stop=lambda: next(asked))
    assert computed == [32]
    with_features(probe(), (data,), tmp_path / "features", CPU)
    assert computed == [32, 32, 32]


def test_a_damaged_part_is_computed_again(
    dataset: Path, probe: Make, tmp_path: Path, computed: list[int]
) -> None:
    data = load(dataset / "test", 0)
    [first] = with_features(probe(), (data,), tmp_path, CPU)
    [part] = tmp_path.glob("*/part-*.safetensors")
    part.write_bytes(part.read_bytes()[:100])
    [second] = with_features(probe(), (data,), tmp_path, CPU)
    assert torch.equal(first.images.vectors, second.images.vectors)  # type: ignore[attr-defined]
    assert computed == [60, 60]


def test_stores_of_two_processes_see_each_others_parts(tmp_path: Path) -> None:
    one, other = FeatureStore(tmp_path), FeatureStore(tmp_path)
    digests = [bytes([number]) * 32 for number in range(3)]
    one.add(digests[:2], torch.tensor([[1.0], [2.0]]))
    other.add(digests[1:], torch.tensor([[2.0], [3.0]]))
    one.refresh()
    assert one.get(digests[::-1]).tolist() == [[3.0], [2.0], [1.0]]
    assert one.missing([b"x" * 32, digests[0], b"x" * 32]) == [0]


def test_a_damaged_part_that_another_process_has_deleted_is_no_error(tmp_path: Path) -> None:
    # listed like a file that is deleted before it is opened
    (tmp_path / "part-0.safetensors").symlink_to(tmp_path / "deleted")
    assert FeatureStore(tmp_path).missing([bytes(32)]) == [0]


def test_features_that_another_process_is_computing_are_waited_for(
    dataset: Path, probe: Make, tmp_path: Path, computed: list[int]
) -> None:
    data = load(dataset / "test", 0)
    [expected] = with_features(probe(), (data,), tmp_path / "other", CPU)
    [store] = (tmp_path / "other").glob("*/")
    (tmp_path / "features").mkdir()
    with ThreadPoolExecutor(1) as pool, wait_for_lock(tmp_path / "features" / f"{store.name}.lock"):
        waiting = pool.submit(with_features, probe(), (data,), tmp_path / "features", CPU)
        with pytest.raises(TimeoutError):
            waiting.result(2)
        shutil.copytree(store, tmp_path / "features" / store.name)
    [result] = waiting.result()
    assert torch.equal(result.images.vectors, expected.images.vectors)  # type: ignore[attr-defined]
    assert computed == [60]


def test_a_wait_for_another_process_can_be_stopped(dataset: Path, probe: Make, tmp_path: Path) -> None:
    data = load(dataset / "test", 0)
    with_features(probe(), (data,), tmp_path / "other", CPU)
    [store] = (tmp_path / "other").glob("*/")
    (tmp_path / "features").mkdir()
    with wait_for_lock(tmp_path / "features" / f"{store.name}.lock"), pytest.raises(KeyboardInterrupt):
        with_features(probe(), (data,), tmp_path / "features", CPU, stop=lambda: True)


def test_a_head_scales_its_features_to_mean_0_and_variance_1() -> None:
    vectors = torch.randn(500, 3) * torch.tensor([1.0, 10.0, 0.0]) + 7
    head = make_head(vectors, 2, seed=0)
    scaled = (vectors - head.mean) * head.scale
    assert torch.allclose(scaled.mean(dim=0), torch.zeros(3), atol=1e-5)
    assert torch.allclose(scaled.std(dim=0, correction=0), torch.tensor([1.0, 1.0, 0.0]), atol=1e-5)


@pytest.mark.parametrize("method", ["vanilla", "mixup", "mentormix", "elr", "co_teaching"])
def test_every_kind_of_method_trains_a_head(
    dataset: Path, probe: Make, tmp_path: Path, method: str, weights: Path
) -> None:
    config = probe(method=method, optimizer=OptimizerConfig(learning_rate=0.02), epochs=8)
    sets = load_pair(dataset, "blue-0.00", "test", 0)
    result = run_training(config, *sets, tmp_path / "run", device=CPU, features=tmp_path / "features")
    assert result["final_accuracy"] > 0.6  # the bright channel shows through random weights
    assert result["parameters"] == 1280 * 3 + 3


def test_the_weight_decay_is_chosen_by_given_labels_alone(dataset: Path, probe: Make, tmp_path: Path) -> None:
    """Whoever lies about what is clean, and about the true labels, changes neither choice nor weights."""
    config = probe(optimizer=OptimizerConfig(learning_rate=0.02, weight_decays=(0.01, 1.0, 20.0)))
    train, test = load_pair(dataset, "blue-0.00", "test", 0)
    lie = replace(train, is_clean=~train.is_clean, true_labels=(train.true_labels + 1) % 3)

    def result(data: ImageSet, folder: str) -> dict[str, Any]:
        return run_training(config, data, test, tmp_path / folder, device=CPU, features=tmp_path / "features")

    honest, lying = result(train, "honest"), result(lie, "lying")
    assert honest["weight_decay_accuracies"] == lying["weight_decay_accuracies"]
    assert list(honest["weight_decay_accuracies"]) == ["0.01", "1", "20"]
    best = max(honest["weight_decay_accuracies"].values())
    assert honest["weight_decay_accuracies"][f"{honest['weight_decay']:g}"] == best
    one, other = (load_file(checkpoint.newest(tmp_path / name) or "") for name in ("honest", "lying"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    again = run_training(
        config, train, test, tmp_path / "honest", device=CPU, features=tmp_path / "none", resume=True
    )
    assert again == honest
    with pytest.raises(UsageError, match="--resume"):
        run_training(config, train, test, tmp_path / "honest", device=CPU, features=tmp_path / "none")


def test_a_resumed_run_keeps_the_weight_decay_that_it_started_with(
    dataset: Path, probe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = probe(optimizer=OptimizerConfig(learning_rate=0.02, weight_decays=(0.01, 20.0)))
    sets, options = load_pair(dataset, "blue-0.00", "test", 0), {"device": CPU, "features": tmp_path / "f"}
    whole = run_training(config, *sets, tmp_path / "whole", **options)  # type: ignore[arg-type]
    shutil.copytree(tmp_path / "whole", tmp_path / "run")
    for path in (tmp_path / "run").iterdir():
        if path.name != CONFIG:
            path.unlink()

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("the trials are done")

    monkeypatch.setattr(weight_decay_selection, "validation_accuracies", fail)
    resumed = run_training(config, *sets, tmp_path / "run", resume=True, **options)  # type: ignore[arg-type]
    same = ("weight_decay_accuracies", "weight_decay", "final_accuracy", "train_loss")
    assert {key: resumed[key] for key in same} == {key: whole[key] for key in same}


def test_features_of_another_precision_have_another_store(probe: Make) -> None:
    config, network = probe(), nn.Linear(1, 1)
    assert extract._key(config, network, bf16=False) != extract._key(config, network, bf16=True)


def test_features_of_inputs_on_another_scale_have_another_store(probe: Make) -> None:
    """The scale is that of a library's weights, which another version of this software may know better."""
    network, names = nn.Linear(1, 1), set()
    for mean, deviation in ((0.5, 0.5), (0.5, 0.25), (0.4, 0.5)):
        scaled = Rescaled(network, (mean,) * 3, (deviation,) * 3)
        names.add(extract._key(probe(), scaled, bf16=False))
    assert len(names) == 3


def test_evaluate_takes_the_features_that_the_run_has_computed(
    dataset: Path, probe: Make, tmp_path: Path, computed: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    sets = load_pair(dataset, "blue-0.00", "test", 0)
    run_training(probe(), *sets, tmp_path / "run", device=CPU, features=tmp_path / "features")
    known = list(computed)
    assert sum(known) == 96 + 60
    assert main(["evaluate", "--data", str(dataset), "--run", str(tmp_path / "run"), "--json"]) == 0
    assert computed == known


def test_a_folder_that_cannot_be_used_is_refused_before_features_are_computed(
    dataset: Path, probe: Make, tiny_config: Make, tmp_path: Path, computed: list[int]
) -> None:
    sets = load_pair(dataset, "blue-0.00", "test", 0)

    def refused(folder: str, kind: type[Exception] = UsageError, resume: bool = False) -> str:
        with pytest.raises(kind) as error:
            run_training(
                probe(), *sets, tmp_path / folder, device=CPU, features=tmp_path / "f", resume=resume
            )
        return str(error.value)

    (tmp_path / "diary").mkdir()
    (tmp_path / "diary/today.txt").write_text("dear diary")
    assert "the folder is not empty and has no run" in refused("diary")
    assert "today.txt: not a folder" in refused("diary/today.txt")
    run_training(tiny_config(epochs=1), *sets, tmp_path / "run", device=CPU, features=tmp_path / "f")
    assert "already has a run; add --resume" in refused("run")
    another = refused("run", resume=True)
    assert "config.network.frozen, config.network.name" in another
    assert "threads" not in another  # follows from the configuration
    export_run(tmp_path / "run", tmp_path / "model")
    for resume in (False, True):
        assert "not the configuration of a run" in refused("model", DataError, resume)
    assert computed == []


def test_a_plan_of_probes_computes_no_features_and_says_what_it_does(
    dataset: Path, weights: Path, tmp_path: Path, computed: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    frozen = {"name": LITE, "weights": str(weights), "frozen": True}
    overrides = QUICK | {"network": frozen, "augment": {"resize": 16}, "precision": "auto"}
    methods = ("vanilla", "dividemix")
    study = small_study(levels=(0.4,), seeds=(0,), methods=methods, overrides=overrides)
    runs = grid.unique_runs(grid.make_cells(study, dataset))
    planned = plan.make_plan(runs, tmp_path / "study", dataset, "test", measure=True)
    assert [one.basis for one in planned.configurations] == ["measured steps"] * 2
    assert planned.seconds_left
    assert computed == []
    assert capsys.readouterr().err == "timing a few steps of 2 configurations\n"


def test_what_cannot_be_frozen_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs pretrained"):
        NetworkConfig(LITE, frozen=True)
    with pytest.raises(DataError, match=rf"has no {LITE}.safetensors or {LITE}.pth"):
        backbone(NetworkConfig(LITE, weights=str(tmp_path), frozen=True))
    with pytest.raises(UsageError, match="has no pretrained weights"):
        make_network(NetworkConfig("small_cnn", weights="pretrained"), 3, 0)


def test_a_part_whose_digests_and_features_do_not_match_is_removed(tmp_path: Path) -> None:
    digests = torch.zeros(3, 32, dtype=torch.uint8)
    save_file({"digests": digests, "features": torch.zeros(2, 4)}, tmp_path / "part-x.safetensors")
    assert FeatureStore(tmp_path).missing([bytes(32)]) == [0]
    assert not list(tmp_path.iterdir())
