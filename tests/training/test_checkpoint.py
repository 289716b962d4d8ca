"""Checkpoints: saved, restored, and refused if damaged or of another network."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

from common.atomic_file import temporary_path
from common.errors import DataError
from training import checkpoint

WEIGHTS = {"weight": torch.arange(6.0).reshape(2, 3), "steps": torch.tensor(4)}
CPU = torch.device("cpu")


def progress(step: int) -> dict[str, Any]:
    return {"step": step, "epoch": 1, "position": 0, "seconds": 1.5}


def test_the_newest_checkpoint_comes_back_and_older_ones_go(tmp_path: Path) -> None:
    for step in (9, 10, 100):
        checkpoint.save(tmp_path, WEIGHTS, progress(step), step, keep=2)
    tensors, state = checkpoint.load(tmp_path, CPU)
    assert state == progress(100)
    assert tensors.keys() == WEIGHTS.keys()
    assert all(torch.equal(tensors[name], WEIGHTS[name]) for name in WEIGHTS)
    assert sorted(tmp_path.iterdir()) == [tmp_path / checkpoint.FILE_NAME.format(step) for step in (10, 100)]


def test_leftovers_of_a_killed_writer_are_deleted(tmp_path: Path) -> None:
    temporary_path(tmp_path / checkpoint.FILE_NAME.format(7)).write_bytes(b"half of one")
    checkpoint.save(tmp_path, WEIGHTS, progress(1), 1)
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.FILE_NAME.format(1)]


@pytest.mark.parametrize("size", [0, 5, 40, -1])
def test_a_truncated_checkpoint_is_named_with_the_remedy(tmp_path: Path, size: int) -> None:
    checkpoint.save(tmp_path, WEIGHTS, progress(1), 1)
    path = checkpoint.newest(tmp_path)
    assert path is not None
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match=rf"{path.name}: damaged .*run the same command with --resume"):
        checkpoint.load(tmp_path, CPU)


def test_a_safetensors_file_without_progress_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(WEIGHTS, tmp_path / checkpoint.FILE_NAME.format(1))  # without our state in its header
    with pytest.raises(DataError, match="damaged"):
        checkpoint.load(tmp_path, CPU)


def test_a_folder_without_a_checkpoint_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no checkpoint; train first"):
        checkpoint.load(tmp_path, CPU)


@pytest.mark.parametrize(
    ("saved", "said"),
    [
        ({"weight": torch.zeros(2, 3)}, "another network or method"),
        ({**WEIGHTS, "bias": torch.zeros(3)}, r"another network or method \('bias'\)"),
        ({**WEIGHTS, "weight": torch.zeros(3, 2)}, r"weight has shape \[3, 2\], expected \[2, 3\]"),
    ],
)
def test_weights_of_another_network_are_refused(saved: dict[str, torch.Tensor], said: str) -> None:
    into = {name: tensor.clone() for name, tensor in WEIGHTS.items()}
    with pytest.raises(DataError, match=said):
        checkpoint.restore(into, saved, Path("run"))


def test_a_failed_write_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {"step": 1, "epoch": 0, "position": 1, "seconds": 1.0}
    checkpoint.save(tmp_path, {"a": torch.ones(2)}, before, 1)

    def full(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        checkpoint.save(tmp_path, {"a": torch.zeros(2)}, {**before, "step": 2}, 2)
    tensors, state = checkpoint.load(tmp_path, CPU)
    assert (tensors["a"].tolist(), state) == ([1.0, 1.0], before)


@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077])
def test_a_checkpoint_has_the_permissions_of_other_files(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        checkpoint.save(tmp_path, {"weight": torch.zeros(2)}, {}, step=1)
        (tmp_path / "other").touch()
    finally:
        os.umask(before)
    [path] = tmp_path.glob("checkpoint-*")
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_full_disk_is_an_error_with_a_remedy_for_train_and_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A study has no flag --resume. The checkpoint before stays."""
    checkpoint.save(tmp_path, {"x": torch.zeros(1)}, {}, 1)

    def fail(*_: object, **__: object) -> None:
        raise SafetensorError("No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", fail)
    expected = (
        r"No space left on device\); free disk space and run the same command again \(train: with --resume\)"
    )
    with pytest.raises(DataError, match=expected):
        checkpoint.save(tmp_path, {"x": torch.zeros(1)}, {}, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-000000001.safetensors"]
