"""Whole runs on a device: they repeat and resume bit-identically, and neither compiling nor streaming changes them."""

from pathlib import Path

import pytest
import torch

from tests.training.run_helpers import Make, equal, run_until, timeless
from training import metrics
from training.data.image_stores import ResidentImages, StreamedImages
from training.data.shards import ImageSet, load_pair
from training.trainer import Trainer

METHODS_WITH_STATE = ("dropout", "mentormix", "elr", "dividemix")


@pytest.fixture
def sets(dataset: Path) -> tuple[ImageSet, ImageSet]:
    return load_pair(dataset, "blue-0.40", "test")


def assert_equal_runs(one: Path, other: Path) -> None:
    assert equal(one, other)
    assert timeless(metrics.read_rows(one)) == timeless(metrics.read_rows(other))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("method", METHODS_WITH_STATE)
def test_a_deterministic_run_repeats_to_the_bit(
    device: torch.device,
    sets: tuple[ImageSet, ImageSet],
    tiny_config: Make,
    tmp_path: Path,
    method: str,
    precision: str,
) -> None:
    config = tiny_config(method=method, precision=precision, epochs=2, deterministic=True)
    for name in ("one", "other"):
        Trainer(config, *sets, device).run(tmp_path / name)
    assert_equal_runs(tmp_path / "one", tmp_path / "other")


@pytest.mark.parametrize("method", METHODS_WITH_STATE)
def test_a_run_stopped_within_an_epoch_resumes_to_the_bit(
    device: torch.device, sets: tuple[ImageSet, ImageSet], tiny_config: Make, tmp_path: Path, method: str
) -> None:
    config = tiny_config(method=method, deterministic=True)
    Trainer(config, *sets, device).run(tmp_path / "whole")
    run_until(4, config, sets, tmp_path / "parts", device)
    Trainer(config, *sets, device).run(tmp_path / "parts", resume=True)
    assert_equal_runs(tmp_path / "whole", tmp_path / "parts")


def test_streamed_images_give_the_same_bits_as_resident_images(
    device: torch.device, dataset: Path, sets: tuple[ImageSet, ImageSet], tiny_config: Make, tmp_path: Path
) -> None:
    streamed = load_pair(dataset, "blue-0.40", "test", resident_bytes=0)
    assert isinstance(sets[0].images, ResidentImages)
    assert isinstance(streamed[0].images, StreamedImages)
    config = tiny_config(method="mentormix", deterministic=True)
    Trainer(config, *sets, device).run(tmp_path / "resident")
    Trainer(config, *streamed, device).run(tmp_path / "streamed")
    assert_equal_runs(tmp_path / "resident", tmp_path / "streamed")


def test_cuda_graphs_give_the_losses_of_an_eager_run(
    device: torch.device, sets: tuple[ImageSet, ImageSet], tiny_config: Make, tmp_path: Path
) -> None:
    """MentorMix has passes with and without gradient, and `accumulate` has two of each per step."""
    if device.type == "cpu":
        pytest.skip("a CPU has no CUDA graphs, and compiling takes a minute")
    losses = {}
    for mode in ("off", "reduce-overhead"):
        config = tiny_config(method="mentormix", epochs=2, compile=mode, accumulate=2)
        Trainer(config, *sets, device).run(tmp_path / mode)
        losses[mode] = [row["train_loss"] for row in metrics.read_rows(tmp_path / mode)]
    assert losses["reduce-overhead"] == pytest.approx(losses["off"], rel=1e-2)
