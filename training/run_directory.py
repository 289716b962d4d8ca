"""One run's folder: config.json first, result.json last; between them metrics and a checkpoint."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schemas.config import build
from schemas.errors import DataError, UsageError
from training import checkpoint
from training.config import TrainConfig
from training.data.shards import ImageSet

CONFIG = "config.json"
RESULT = "result.json"


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON in one rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def describe(config: TrainConfig, train: ImageSet, test: ImageSet) -> dict[str, Any]:
    """Return what a run is: its configuration, the digests of the sets it reads, their classes and picture size."""
    data = {
        "train": train.name,
        "train_digest": train.digest,
        "test": test.name,
        "test_digest": test.digest,
        "class_names": list(train.class_names),
        "picture_size": list(train.pictures.size),
    }
    return {"digest": config.digest(train.digest, test.digest), "data": data, "config": config.resolved()}


def open_run(directory: Path, description: Mapping[str, Any], resume: bool) -> bool:
    """Make the folder, or enter it again; tell whether there is a checkpoint to go on from.

    Raises UsageError if the folder holds a run and `resume` is not set, or if it holds another run.
    """
    path = directory / CONFIG
    if not path.is_file():
        if directory.is_dir() and any(directory.iterdir()):
            raise UsageError(f"{directory}: not empty and no run; give an empty or new folder")
        directory.mkdir(parents=True, exist_ok=True)
        write_json(path, description)
        return False
    if not resume:
        raise UsageError(f"{directory}: holds a run already; add --resume to go on, or give another folder")
    earlier = json.loads(path.read_text(encoding="utf-8"))
    if earlier["digest"] != description["digest"]:
        odd = sorted(_differences(earlier, dict(description)))
        raise UsageError(
            f"{directory}: holds another run, which differs in {', '.join(odd)}; give another folder"
        )
    return checkpoint.newest(directory) is not None


def read_config(directory: Path) -> TrainConfig:
    """Return the configuration of the run in a folder. Raises DataError if there is none."""
    path = directory / CONFIG
    if not path.is_file():
        raise DataError(f"{path}: no run in this folder; train first")
    return build(TrainConfig, json.loads(path.read_text(encoding="utf-8"))["config"], str(path))


def read_data(directory: Path) -> dict[str, Any]:
    """Return what a run says about its sets. Raises DataError if there is no run, or one of before version 0.2."""
    read_config(directory)
    data: dict[str, Any] = json.loads((directory / CONFIG).read_text(encoding="utf-8"))["data"]
    if "class_names" not in data:
        raise DataError(f"{directory / CONFIG}: says nothing about classes; train the run again")
    return data


def read_result(directory: Path) -> dict[str, Any] | None:
    """Return what a finished run measured, or None if it has not finished."""
    path = directory / RESULT
    if not path.is_file():
        return None
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return result


def _differences(one: Any, other: Any, name: str = "") -> set[str]:
    """Names, dotted, of the leaves in which two nested dictionaries differ."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        same = json.dumps(one) == json.dumps(other)  # tuples are lists once they were written
        return set() if same else {name}
    keys = (one.keys() | other.keys()) - {"digest"}
    parts = (_differences(one.get(k), other.get(k), f"{name}.{k}".lstrip(".")) for k in keys)
    return set().union(*parts)
