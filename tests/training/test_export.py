"""The folder for the hub and the ONNX file give the predictions of the run, and hostile names stay text."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch
import yaml
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt
from safetensors.torch import save_file

from common.errors import DataError, UsageError
from training import export_run, load_network
from training.__main__ import main
from training.config import AugmentConfig, NetworkConfig, TrainConfig
from training.data.shards import load_pair
from training.export.onnx_file import OPSET
from training.models.registry import make_network
from training.study.power import wilson
from training.trainer import Trainer

CPU = torch.device("cpu")
TOLERANCE = 1e-5  # of logits, relative to the largest; kernels add in different orders
Make = Callable[..., TrainConfig]
HOSTILE = 'a "b"\n---\nlicense: mit\n- <img src=x onerror=alert(1)> | `c` [d](javascript:e) \u202e\x00'


def finished_run(dataset: Path, folder: Path, config: TrainConfig) -> dict[str, Any]:
    return Trainer(config, *load_pair(dataset, "blue-0.40", "test"), CPU).run(folder)


def header(card: str) -> Any:
    assert card.startswith("---\n")
    return yaml.safe_load(card[4 : card.index("\n---\n") + 1])


def describe_sets(run: Path, **changes: Any) -> None:
    """Change the description of a run's sets."""
    path = run / "config.json"
    description = json.loads(path.read_text())
    description["data"] |= changes
    path.write_text(json.dumps(description))


@pytest.fixture
def run(dataset: Path, tiny_config: Make, tmp_path: Path) -> Path:
    finished_run(dataset, tmp_path / "run", tiny_config(epochs=1))
    return tmp_path / "run"


@pytest.mark.parametrize(
    "name", ["small_cnn", "preact_resnet18", "tf_efficientnet_lite0", "torchvision/squeezenet1_1"]
)
def test_onnx_runtime_computes_the_logits_of_torch(
    dataset: Path, tiny_config: Make, tmp_path: Path, name: str
) -> None:
    weights = ""
    if "/" in name:  # pretrained weights expect another scale of pixels
        donor = make_network(NetworkConfig(name), 5, seed=1)
        weights = str(tmp_path / "w.safetensors")
        save_file({n: t.contiguous() for n, t in donor.state_dict().items()}, weights)
    config = tiny_config(
        epochs=1,
        average_decay=0.0,
        network=NetworkConfig(name, 8, weights),
        augment=AugmentConfig(0, resize=32, size=28),
    )
    finished_run(dataset, tmp_path / "run", config)
    describe_sets(tmp_path / "run", class_names=[HOSTILE, "../../x", '"'])
    command = ["export", str(tmp_path / "run"), "--output", str(tmp_path / "model"), "--onnx", "--json"]
    assert main(command) == 0
    path = tmp_path / "model/model.onnx"
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
    about = json.loads((tmp_path / "model/config.json").read_text())
    stored = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert stored["class_names"] == [HOSTILE, "../../x", '"']
    assert stored["preprocessing"] == {k: v for k, v in about["pretrained_cfg"].items() if k != "num_classes"}
    assert b".py" not in path.read_bytes(), "the file names sources of the machine that wrote it"

    network, session = load_network(tmp_path / "model"), onnxruntime.InferenceSession(path)
    mean, deviation = (np.float32(stored["preprocessing"][key])[:, None, None] for key in ("mean", "std"))
    for count in (1, 5):
        pixels = torch.rand(
            count, *stored["preprocessing"]["input_size"], generator=torch.Generator().manual_seed(count)
        )
        with torch.inference_mode():
            expected = network(pixels * 2 - 1).numpy()
        [logits] = session.run(["logits"], {"images": (pixels.numpy() - mean) / deviation})
        assert logits.shape == (count, 3)
        assert np.abs(logits - expected).max() <= TOLERANCE * np.abs(expected).max()


def test_the_hub_reads_the_card_and_timm_the_folder(dataset: Path, tiny_config: Make, tmp_path: Path) -> None:
    config = tiny_config(
        epochs=1,
        network=NetworkConfig("timm/tf_efficientnet_lite0.in1k"),
        augment=AugmentConfig(0, resize=32),
    )
    result, model = finished_run(dataset, tmp_path / "run", config), tmp_path / "model"
    export_run(tmp_path / "run", model, license="apache-2.0", dataset_repository="owner/noise")
    assert {path.name for path in model.iterdir()} == {"README.md", "config.json", "model.safetensors"}
    card = ModelCard.load(model / "README.md")
    assert (card.data.license, card.data.datasets, card.data.library_name) == (
        "apache-2.0",
        ["owner/noise"],
        "timm",
    )
    assert card.data.eval_results
    [measured] = card.data.eval_results
    low, high = wilson(result["final_accuracy"], 60)
    assert measured.metric_value == pytest.approx(result["final_accuracy"], abs=1e-6)
    assert measured.metric_name == f"Accuracy (95 % interval {low:.2%} to {high:.2%}, 60 images)"
    assert (measured.dataset_type, measured.dataset_name) == ("owner/noise", "test (trained on blue-0.40)")

    network, theirs = load_network(model), timm.create_model(f"local-dir:{model}", pretrained=True).eval()
    images = torch.rand(3, 3, 32, 32) * 2 - 1
    given = timm.data.resolve_model_data_config(theirs)
    assert list(given["input_size"]) == [3, 32, 32]
    assert [*given["mean"], *given["std"]] == [0.5] * 6
    with torch.inference_mode():
        assert torch.allclose(theirs(images), network(images), rtol=TOLERANCE)


def test_a_card_states_no_license_that_was_not_given(run: Path, tmp_path: Path) -> None:
    export_run(run, tmp_path / "model")
    assert not header((tmp_path / "model/README.md").read_text()).keys() & {"license", "datasets"}
    for wrong in (
        {"license": "MIT\n---"},
        {"dataset_repository": "noise"},
        {"dataset_repository": "a/b\nc: d"},
    ):
        with pytest.raises(UsageError, match="of the hub; give"):
            export_run(run, tmp_path / "more", **wrong)  # type: ignore[arg-type]
    assert not (tmp_path / "more").exists()


def test_names_of_classes_and_sets_remain_text(run: Path, tmp_path: Path) -> None:
    describe_sets(run, class_names=[HOSTILE, "../../x", '"'], test=HOSTILE, train_digest=HOSTILE)
    model = export_run(run, tmp_path / "model")
    card = (model / "README.md").read_text(encoding="utf-8")
    assert header(card).keys() == {"library_name", "pipeline_tag", "tags", "model-index"}
    html = MarkdownIt("commonmark").enable("table").render(card[card.index("\n---\n") + 5 :])
    assert "<img" not in html
    assert "href" not in html
    assert html.count("<table>") == 1
    assert "\u202e" not in card
    assert "\x00" not in card
    assert load_network(model).class_names == (HOSTILE, "../../x", '"')
    assert {path.name for path in tmp_path.iterdir()} == {"data", "run", "model"}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("class_names", ["a", "\ud800", "b"], "not valid Unicode"),
        ("class_names", [1, 2, 3], "expected str"),
        ("image_size", [8, 10**9], "65,536"),
        ("train", None, "expected str"),
    ],
)
def test_a_damaged_description_of_the_sets_is_an_error(
    run: Path, tmp_path: Path, key: str, value: Any, message: str
) -> None:
    describe_sets(run, **{key: value})
    with pytest.raises(DataError, match=rf"config.json: data.*{message}.*; train the run again"):
        export_run(run, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_without_the_packages_of_onnx_the_error_names_the_extra(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main(["export", str(run), "--output", str(tmp_path / "model"), "--onnx"]) == 2
    assert "--onnx: onnx is not installed; pip install" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()
