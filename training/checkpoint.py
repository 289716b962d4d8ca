"""Checkpoints: safetensors files, each written under another name and renamed, so a kill leaves whole ones."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from common.atomic_file import replacing
from common.errors import DataError
from common.json_records import parse_given, to_json
from training.records import CheckpointProgress

FILE_NAME = "checkpoint-{:09d}.safetensors"
FILE_PATTERN = "checkpoint-*.safetensors"


def newest(directory: Path) -> Path | None:
    """Return the checkpoint of most steps in a folder, or None."""
    return max(directory.glob(FILE_PATTERN), default=None)


def save(
    directory: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any], step: int, keep: int = 1
) -> None:
    """Write tensors and JSON-able `state` (kept in the file's header), then drop all but the newest `keep`."""
    plain = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    path = directory / FILE_NAME.format(step)
    try:
        with replacing(path) as temporary:
            save_file(plain, temporary, metadata={"state": to_json(state)})
    except SafetensorError as error:  # how it passes on that the disk is full
        raise DataError(
            f"{path}: the checkpoint cannot be written ({error}); free disk space, and run the same command with --resume"
        ) from error
    for old in sorted(directory.glob(FILE_PATTERN))[:-keep]:
        old.unlink()
    for left in directory.glob(".checkpoint*"):  # by a writer that was killed
        left.unlink()


def load(directory: Path, device: torch.device) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the newest checkpoint onto `device`. Raises DataError if there is none or it is damaged."""
    path = newest(directory)
    if path is None:
        raise DataError(
            f"{directory}: no checkpoint; train first (python -m training train --output {directory})"
        )
    state = read_progress(path)
    with safe_open(path, framework="pt", device=str(device)) as file:
        return {name: file.get_tensor(name) for name in file.keys()}, asdict(state)  # noqa: SIM118 - no mapping


def read_progress(path: Path) -> CheckpointProgress:
    """Return how far a checkpoint is. Raises DataError if it is damaged: cut off, or with another header."""
    remedy = (
        "train with the same command and --resume, which goes on from the checkpoint before, or starts again"
    )
    try:
        with safe_open(path, framework="pt") as file:  # compares the size of the file with its header
            text = (file.metadata() or {}).get("state", "")
    except SafetensorError as error:
        raise DataError(f"{path}: damaged ({error}); {remedy}") from error
    values = parse_given(
        CheckpointProgress, text, str(path), remedy
    )  # checkpoints of version 0.1 have a key more
    return CheckpointProgress(**{field.name: values[field.name] for field in fields(CheckpointProgress)})


def restore(into: Mapping[str, Tensor], tensors: Mapping[str, Tensor], where: Path) -> None:
    """Copy `tensors` into `into` in place. Raises DataError where names or shapes differ."""
    if into.keys() != tensors.keys():
        odd = sorted(into.keys() ^ tensors.keys())
        raise DataError(
            f"{where}: another network or method wrote this checkpoint ({odd[0]}, …); delete the folder and train again"
        )
    with torch.no_grad():
        for name, tensor in into.items():
            if tensor.shape != tensors[name].shape:
                raise DataError(
                    f"{where}: {name} has shape {list(tensors[name].shape)}, not {list(tensor.shape)}: another "
                    "number of classes or images, or another network"
                )
            tensor.copy_(tensors[name])


def select_group(tensors: Mapping[str, Tensor], group: str) -> dict[str, Tensor]:
    """Return the tensors whose names start with `group` and a dot, without that prefix."""
    return {
        name.removeprefix(f"{group}."): one for name, one in tensors.items() if name.startswith(f"{group}.")
    }
