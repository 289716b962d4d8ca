"""Checkpoints as safetensors files.

Each is written under a temporary name and renamed, so a kill leaves no partial file.
"""

import stat
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from common.atomic_file import TEMPORARY_PREFIX, replacing
from common.errors import DataError
from common.json_records import parse_given, to_json
from training.records import CheckpointProgress

FILE_NAME = "checkpoint-{:09d}.safetensors"
TRAIN_AGAIN = "delete the folder and train again"
FILE_PATTERN = "checkpoint-*.safetensors"


def newest(directory: Path) -> Path | None:
    """Return the checkpoint with the most steps in a folder, or None."""
    return max(directory.glob(FILE_PATTERN), default=None)


def separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors, contiguous and without gradient; those that share memory with an earlier one are copied.

    Safetensors refuses shared memory, which networks have that use one module in several places.
    """
    result, storages = {}, set[int]()
    for name, tensor in tensors.items():
        plain = tensor.detach().contiguous()
        if plain.untyped_storage().data_ptr() in storages:
            plain = plain.clone()
        storages.add(plain.untyped_storage().data_ptr())
        result[name] = plain
    return result


def save(
    directory: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any], step: int, keep: int = 1
) -> None:
    """Write tensors, and `state` as JSON in the file's header, then delete all but the newest `keep` checkpoints.

    Raises DataError if the file cannot be written.
    """
    path = directory / FILE_NAME.format(step)
    try:
        with replacing(path) as temporary:
            temporary.touch()
            mode = stat.S_IMODE(temporary.stat().st_mode)
            save_file(separate(tensors), temporary, metadata={"state": to_json(state)})
            temporary.chmod(mode)  # save_file writes a file that only its owner can read
    except SafetensorError as error:  # safetensors reports a full disk this way
        raise DataError(
            f"{path}: cannot write the checkpoint ({error}); free disk space and run the same command again (train: with "
            "--resume)"
        ) from error
    for old in sorted(directory.glob(FILE_PATTERN))[:-keep]:
        old.unlink()
    for abandoned in directory.glob(f"{TEMPORARY_PREFIX}*-checkpoint*"):  # of a process that was killed
        abandoned.unlink()


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
    """Return the progress stored in a checkpoint. Raises DataError if the file is damaged."""
    remedy = "run the same command with --resume to continue from the previous checkpoint or start again"
    try:
        with safe_open(path, framework="pt") as file:  # raises if the file is shorter than its header says
            text = (file.metadata() or {}).get("state", "")
    except SafetensorError as error:
        raise DataError(f"{path}: damaged ({error}); {remedy}") from error
    values = parse_given(CheckpointProgress, text, str(path), remedy)
    # checkpoints of version 0.1 have one more key
    return CheckpointProgress(**{field.name: values[field.name] for field in fields(CheckpointProgress)})


def restore(
    targets: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    path: Path,
    remedy: str = TRAIN_AGAIN,
) -> None:
    """Copy `tensors`, read from `path`, into `targets` in place. Raises DataError with `remedy` if names or shapes differ."""
    if targets.keys() != tensors.keys():
        odd = sorted(targets.keys() ^ tensors.keys())
        raise DataError(f"{path}: tensors of another network or method ({odd[0]!r}); {remedy}")
    with torch.no_grad():
        for name, tensor in targets.items():
            if tensor.shape != tensors[name].shape:
                raise DataError(
                    f"{path}: {name} has shape {list(tensors[name].shape)}, expected {list(tensor.shape)}: tensors of "
                    f"another network or set; {remedy}"
                )
            tensor.copy_(tensors[name])


def select_group(tensors: Mapping[str, Tensor], group: str) -> dict[str, Tensor]:
    """Return the tensors whose names start with `group` and a dot, with that prefix removed."""
    return {
        name.removeprefix(f"{group}."): tensor
        for name, tensor in tensors.items()
        if name.startswith(f"{group}.")
    }
