"""Checkpoints: safetensors files, each written under another name and renamed, so a kill leaves whole ones."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from schemas.errors import DataError

NAME = "checkpoint-{:09d}.safetensors"
PATTERN = "checkpoint-*.safetensors"


def newest(directory: Path) -> Path | None:
    """Return the checkpoint of most steps in a folder, or None."""
    return max(directory.glob(PATTERN), default=None)


def save(
    directory: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any], step: int, keep: int = 1
) -> None:
    """Write tensors and JSON-able `state` (kept in the file's header), then drop all but the newest `keep`."""
    plain = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    temporary = directory / f".checkpoint.{os.getpid()}"
    save_file(plain, temporary, metadata={"state": json.dumps(state)})
    os.replace(temporary, directory / NAME.format(step))
    for old in sorted(directory.glob(PATTERN))[:-keep]:
        old.unlink()
    for left in directory.glob(".checkpoint.*"):  # by a writer that was killed
        left.unlink()


def load(directory: Path, device: torch.device) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the newest checkpoint onto `device`. Raises DataError if there is none or it is damaged."""
    path = newest(directory)
    if path is None:
        raise DataError(
            f"{directory}: no checkpoint; train first (python -m training train --output {directory})"
        )
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            return tensors, json.loads(file.metadata()["state"])
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise DataError(
            f"{path}: damaged checkpoint ({error}); delete it, and the run goes on from the one before"
        ) from error


def restore(into: Mapping[str, Tensor], tensors: Mapping[str, Tensor], where: Path) -> None:
    """Copy `tensors` into `into` in place. Raises DataError where names or shapes differ."""
    if into.keys() != tensors.keys():
        odd = sorted(into.keys() ^ tensors.keys())
        raise DataError(
            f"{where}: another network or method wrote this checkpoint ({odd[0]}, …); train again"
        )
    with torch.no_grad():
        for name, tensor in into.items():
            if tensor.shape != tensors[name].shape:
                raise DataError(
                    f"{where}: {name} has shape {list(tensors[name].shape)}, not {list(tensor.shape)}: another "
                    "number of classes or images, or another network"
                )
            tensor.copy_(tensors[name])


def part(tensors: Mapping[str, Tensor], group: str) -> dict[str, Tensor]:
    """Return the tensors whose names start with `group` and a dot, without that prefix."""
    return {
        name.removeprefix(f"{group}."): one for name, one in tensors.items() if name.startswith(f"{group}.")
    }
