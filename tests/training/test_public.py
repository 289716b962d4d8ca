"""The public interface: the documented example, the losses, the dataset, exported networks, loggers of others."""

import json
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch.utils.data import DataLoader

import training
from common.errors import DataError, UsageError
from tests.training.conftest import striped, write_set
from training import (
    ELR,
    GCE,
    MentorMix,
    MentorNet,
    Mixup,
    Reed,
    RobustLoss,
    export_run,
    load_network,
    metrics,
    open_set,
    train_network,
)
from training.__main__ import main
from training.config import AugmentConfig, NetworkConfig, TrainConfig
from training.data.shards import load, load_pair
from training.export import folder
from training.methods.interface import Batch
from training.models.registry import make_network
from training.models.student import Student
from training.randomness import generator
from training.run_directory import read_config
from training.train import run_training
from training.trained_networks import load_trained_networks
from training.trainer import Trainer

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
Make = Callable[..., TrainConfig]


def batch(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(seed)
    return torch.randn(16, 3, 8, 8, generator=source), torch.randint(3, (16,), generator=source)


def test_importing_the_package_loads_no_torch_and_every_name_is_there() -> None:
    code = "import sys, training; dir(training); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    assert {name for names in training._NAMES_BY_MODULE.values() for name in names} == set(training.__all__)
    assert all(getattr(training, name).__name__ == name for name in training.__all__)
    with pytest.raises(AttributeError, match="no attribute 'MentorMicks'"):
        training.MentorMicks  # noqa: B018


def test_the_documented_example_runs_and_is_short(tmp_path: Path) -> None:
    write_set(tmp_path / "dataset/red-0.40", striped(96, 0.4, seed=1), noise_level=0.4)
    write_set(tmp_path / "dataset/test", striped(60, 0.0, seed=2), color=None)
    text = (ROOT / "docs/reference/python.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(import torch.*?)```", text, re.DOTALL)
    assert code
    assert len(code[1].splitlines()) < 25
    said = subprocess.run(
        [sys.executable, "-c", f"import torch\ntorch.manual_seed(0)\n{code[1]}"],
        cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert float(said.removeprefix("test accuracy ")) > 0.6


def test_the_method_of_train_network_may_be_among_the_overrides(dataset: Path, tmp_path: Path) -> None:
    small = {"epochs": 1, "batch_size": 32, "network": {"width": 2}, "method": "mixup"}
    for name, method in (("overrides", None), ("argument", "gce")):
        train_network(
            dataset, "blue-0.40", tmp_path / name, method=method, recipe="tiny", overrides=small
        )  # fmt: skip
        assert read_config(tmp_path / name).method == (method or "mixup")


def test_a_loss_is_the_methods_step_with_draws_of_seed_and_step() -> None:
    loss, network = (
        MentorMix(steps=50, noise_level=0.4, seed=7),
        make_network(NetworkConfig("small_cnn", 4), 3, 0),
    )
    peer = MentorMix(steps=50, noise_level=0.4).method
    for step in range(20):
        images, labels = batch(step)
        draws = peer.draw((1, 16), generator(7, step, "MentorMix"))
        drawn = {name: one[0] for name, one in draws.items()}
        given = Batch(images, labels, 100 * step // 50, drawn, progress=step / 50)
        expected = peer.step([Student(network, False)], given)
        outcome = loss(network, images, labels)
        assert torch.equal(outcome.loss, expected.loss)
        assert torch.equal(outcome.weights, expected.weights)  # type: ignore[arg-type]
    assert 0 < outcome.weights.mean() < 1  # type: ignore[union-attr]  # burn-in is over
    outcome.loss.backward()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_loss_computes_in_the_precision_of_the_surrounding_autocast(dtype: torch.dtype) -> None:
    network, loss = (
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 3)),
        MentorMix(600, burn_in_percent=0),
    )
    computed: list[torch.dtype] = []
    network.register_forward_hook(lambda _network, _inputs, logits: computed.append(logits.dtype))
    images, labels = batch(0)
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        outcome = loss(network, images, labels)
        network(images)  # another pass of the caller
    assert computed == [dtype] * 3
    outcome.loss.backward()
    assert all(one.grad is not None for one in network.parameters())


@pytest.mark.parametrize(
    ("make", "has_state"),
    [
        (lambda: MentorMix(600), True),
        (lambda: MentorNet(600), True),
        (lambda: Mixup(20), True),
        (lambda: ELR(20, examples=16, classes=3), True),
        (lambda: GCE(20), False),
        (lambda: Reed(20), False),
    ],
)
def test_a_batch_on_another_device_is_an_error_that_names_the_argument(
    make: Callable[[], Any], has_state: bool
) -> None:
    images, labels = (one.to("meta") for one in batch(0))  # a device without values in place of a GPU
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 3)).to("meta")
    expected = (
        pytest.raises(UsageError, match="create the loss with device='meta'") if has_state else nullcontext()
    )
    with expected:
        make()(network, images, labels, torch.arange(16))


@pytest.mark.parametrize(
    "make",
    [
        lambda: MentorMix(20),
        lambda: MentorNet(20, burn_in_percent=0),
        lambda: Mixup(20, alpha=2.0),
        lambda: ELR(20, examples=16, classes=3),
        lambda: MentorMix(20, classes=3, balance=True, schedule="ramp", burn_in_percent=0),
    ],
)
def test_a_loss_goes_on_from_its_state(make: Callable[[], Any]) -> None:
    network, rows = make_network(NetworkConfig("small_cnn", 4), 3, 0).eval(), torch.arange(16)
    whole, first, second = make(), make(), make()
    for step in range(6):
        images, labels = batch(step)
        expected = whole(network, images, labels, rows).loss
        if step == 3:
            second.load_state_dict({name: one.clone() for name, one in first.state_dict().items()})
        found = (first if step < 3 else second)(network, images, labels, rows).loss
        assert torch.equal(found, expected)


def test_the_state_of_a_loss_has_the_parameters_of_its_method() -> None:
    first, second = (RobustLoss(TrainConfig(method="s_model"), steps=9, classes=3) for _ in range(2))
    [transition] = first.parameters()
    torch.nn.init.normal_(transition)
    second.load_state_dict({name: one.clone() for name, one in first.state_dict().items()})
    [restored] = second.parameters()
    assert torch.equal(restored, transition)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MentorMix(600, schedule="ramp", burn_in_epochs=2), "burn_in_epochs need the number of the"),
        (lambda: MentorNet(600, schedule="ramp", loss_percentile="auto"), "give loss_percentile as a number"),
        (lambda: MentorMix(600, schedule="ramp", balance=True), "balance=True .* add classes=N"),
        (lambda: MentorNet(600, balance=True), "balance=True .* add classes=N"),
        (lambda: RobustLoss(TrainConfig(method="s_model"), steps=9), "s_model .* add classes=N"),
        (lambda: RobustLoss(TrainConfig(method="elr"), steps=9, classes=3), "elr .* add examples=N"),
    ],
)
def test_settings_that_a_loss_cannot_follow_are_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()


def test_elr_without_the_rows_of_the_examples_says_so() -> None:
    loss, network = ELR(20, examples=16, classes=3), make_network(NetworkConfig("small_cnn", 4), 3, 0)
    with pytest.raises(UsageError, match="give `index`"):
        loss(network, *batch(0))


def test_settings_come_from_the_noise_level_and_from_the_caller() -> None:
    config = MentorMix(10, noise_level=0.8, alpha=3.0).method.config  # type: ignore[attr-defined]
    assert (config.loss_percentile, config.alpha, config.second_reweight) == (0.2, 3.0, True)
    assert MentorMix(10, noise_level=0.8).weight_decay(0.1) == 0
    with pytest.raises(TypeError, match="alfa"):
        MentorMix(10, alfa=3.0)
    loss, network = Mixup(1), make_network(NetworkConfig("small_cnn", 4), 3, 0)
    loss(network, *batch(0))
    with pytest.raises(UsageError, match="all 1 steps are done"):
        loss(network, *batch(0))
    with pytest.raises(UsageError, match="at least 1"):
        Mixup(0)
    with pytest.raises(UsageError, match="'co_teaching' cannot be used as a loss"):
        RobustLoss(TrainConfig(method="co_teaching"), steps=10)


def test_a_dataset_is_indexable_and_picklable(dataset: Path) -> None:
    data, known = open_set(dataset / "blue-0.40"), load(dataset / "blue-0.40")
    again = pickle.loads(pickle.dumps(data))
    assert len(pickle.dumps(data)) < 2000
    for one in (data, again):
        image, label, row = one[-1]
        assert (label, row, len(one)) == (known.labels[-1], 95, 96)
        pixels = next(known.images.batches([torch.tensor([95])]))[0]
        assert torch.equal(image, pixels.float() * (2 / 255) - 1)
    assert torch.equal(again.is_clean, known.is_clean)
    assert list(again.image_ids) == list(known.image_ids)
    with pytest.raises(IndexError, match="row 96"):
        data[96]
    raw = open_set(dataset / "test", transform=lambda pixels: pixels)
    assert raw[0][0].dtype == torch.uint8
    alone, workers = (list(DataLoader(data, 40, num_workers=count)) for count in (0, 2))
    for one, other in zip(alone, workers, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    "name", ["small_cnn", "torchvision/shufflenet_v2_x0_5", "frozen torchvision/shufflenet_v2_x0_5"]
)
def test_an_exported_network_predicts_as_the_run_does(
    dataset: Path, tiny_config: Make, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    frozen, name = name.startswith("frozen "), name.removeprefix("frozen ")
    network = NetworkConfig(name, 4)
    if "/" in name:
        donor = make_network(NetworkConfig(name), 5, seed=1)
        save_file({n: t.contiguous() for n, t in donor.state_dict().items()}, tmp_path / "w.safetensors")
        network = NetworkConfig(name, weights=str(tmp_path / "w.safetensors"), frozen=frozen)
    config = tiny_config(network=network, augment=AugmentConfig(0, flip=False, resize=32, size=28), epochs=3)
    sets, run = load_pair(dataset, "blue-0.40", "test", 0), tmp_path / "run"
    result = run_training(config, *sets, run, device=CPU, features=tmp_path / "features")
    assert main(["export", str(run), "--output", str(tmp_path / "model"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["folder"] == str(tmp_path / "model")
    loaded = load_network(tmp_path / "model", classes=3)
    with pytest.raises(UsageError, match="leave out both"):
        load_network(tmp_path / "model", classes=7)
    assert loaded.class_names == ("circle", "square", "star")
    about = json.loads((tmp_path / "model/config.json").read_text())
    assert about["pretrained_cfg"]["input_size"] == [3, 28, 28]
    assert about["pretrained_cfg"]["mean"][0] == (0.485 if "/" in name else 0.5)
    from training.data.augment import Augmenter

    [images] = sets[1].images.batches([torch.arange(60)])
    with torch.inference_mode():
        logits = loaded(Augmenter(config.augment, 8, 8, CPU).evaluate(images))
    accuracy = (logits.argmax(dim=1) == sets[1].labels).double().mean().item()
    assert accuracy == result["final_accuracy"]
    command = [
        "evaluate",
        "--data",
        str(dataset),
        "--run",
        str(run),
        "--features",
        str(tmp_path / "features"),
    ]
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == result["final_accuracy"]
    with pytest.raises(UsageError, match="not empty"):
        export_run(run, tmp_path / "model")


def test_an_interrupted_export_can_be_repeated(
    dataset: Path, tiny_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Trainer(tiny_config(), *load_pair(dataset, "blue-0.40", "test"), CPU).run(tmp_path / "run")
    export_run(str(tmp_path / "run"), str(tmp_path / "whole"))
    monkeypatch.setattr(folder, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export_run(tmp_path / "run", tmp_path / "model")
    with pytest.raises(UsageError, match="not empty"):
        export_run(tmp_path / "run", tmp_path / "model", license="mit")
    monkeypatch.undo()
    export_run(tmp_path / "run", tmp_path / "model")
    model, whole = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("model", "whole")
    )
    assert model == whole


def interrupted(_path: Path, _data: bytes) -> None:
    raise KeyboardInterrupt


def test_what_is_no_export_is_refused(dataset: Path, tiny_config: Make, tmp_path: Path) -> None:
    sets = load_pair(dataset, "blue-0.40", "test")
    Trainer(tiny_config(method="dividemix"), *sets, CPU).run(tmp_path / "two")
    with pytest.raises(UsageError, match="predicts with two networks"):
        export_run(tmp_path / "two", tmp_path / "model")
    run = Trainer(tiny_config(), *sets, CPU)
    with pytest.raises(KeyboardInterrupt):
        run.run(tmp_path / "half", stop=lambda: run.step >= 2)
    with pytest.raises(DataError, match="has not finished"):
        export_run(tmp_path / "half", tmp_path / "model")
    with pytest.raises(DataError, match="give `classes`"):
        load_network("small_cnn")
    (tmp_path / "odd").mkdir()
    scale = '"pretrained_cfg": {"mean": [0.5], "std": [0.5]}'
    for text in (
        '{"network": {"name": "small_cnn"}, "label_names": 3}',
        f'{{"network": {{"name": "small_cmm"}}, "label_names": ["ant", "bee"], {scale}}}',
    ):
        (tmp_path / "odd/config.json").write_text(text)
        save_file({}, tmp_path / "odd/model.safetensors")
        with pytest.raises(DataError, match=r"odd.config\.json: not written by `export`"):
            load_network(tmp_path / "odd")


def test_weights_of_another_width_are_refused_before_memory_is_taken(
    dataset: Path, tiny_config: Make, tmp_path: Path
) -> None:
    sets = load_pair(dataset, "blue-0.40", "test")
    Trainer(tiny_config(), *sets, CPU).run(tmp_path / "run")
    export_run(tmp_path / "run", tmp_path / "model")
    for file in (tmp_path / "model/config.json", tmp_path / "run/config.json"):
        about = json.loads(file.read_text())
        section = about.get("config", about)["network"]
        section |= {"width": 65_536, "weights": "pretrained"}  # 300 GB, and nothing that could be downloaded
        file.write_text(json.dumps(about))
    with pytest.raises(
        DataError, match=r"safetensors: .* has shape .*, expected .*65536.*export the run again"
    ):
        load_network(tmp_path / "model")
    with pytest.raises(DataError, match=r"run: .* has shape .*train again"):
        load_trained_networks(tmp_path / "run", 3, CPU)


LOGGER = """
import json
class Recorder:
    def __init__(self, directory, description):
        self.file, self.told = directory / "recorded.json", [description["config"]["method"]]
    def log(self, row):
        self.told.append(row["epoch"])
    def finish(self, result):
        self.told.append(result and result["final_accuracy"])
        self.file.write_text(json.dumps(self.told))
"""


def test_a_logger_of_an_installed_package_follows_the_run(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site, run = tmp_path / "site", tmp_path / "run"
    (site / "recorder-1.0.dist-info").mkdir(parents=True)
    (site / "recorder-1.0.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: recorder\nVersion: 1.0\n"
    )
    (site / "recorder-1.0.dist-info/entry_points.txt").write_text(
        "[controlled_noise.loggers]\nrecorder = recorder_of_tests:Recorder\nbroken = recorder_of_tests:Absent\n"
    )
    (site / "recorder_of_tests.py").write_text(LOGGER)
    monkeypatch.syspath_prepend(str(site))
    call = [
        "train",
        "--data",
        str(dataset),
        "--set-name",
        "blue-0.40",
        "--recipe",
        "tiny",
        "--output",
        str(run),
    ]
    call += ["--set", "epochs=2", "--set", "network.width=2", "--json"]
    assert main([*call, "--logger", "wandb"]) == 2
    assert (
        "no installed package provides this logger; available: tensorboard, broken, recorder"
        in capsys.readouterr().err
    )
    assert main([*call, "--logger", "broken"]) == 2
    assert "recorder_of_tests:Absent cannot be imported" in capsys.readouterr().err
    assert not run.exists()
    assert main([*call, "--logger", "recorder"]) == 0
    final = json.loads(capsys.readouterr().out)["final_accuracy"]
    assert json.loads((run / "recorded.json").read_text()) == ["vanilla", 1, 2, final]
    assert len(metrics.read_rows(run)) == 2
