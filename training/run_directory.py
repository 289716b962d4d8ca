"""One run's folder: config.json first, result.json last; between them metrics and a checkpoint."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.config import build
from common.errors import DataError, UsageError
from common.json_records import parse_given
from training import checkpoint, metrics
from training.config import TrainConfig
from training.data.shards import ImageSet
from training.records import Description, Result
from training.state_files import set_aside, write_json

CONFIG = "config.json"
RESULT = "result.json"


def describe(config: TrainConfig, train: ImageSet, test: ImageSet) -> dict[str, Any]:
    """Return what a run is: its configuration, the digests of the sets it reads, their classes and picture size."""
    data = {
        "train": train.name,
        "train_digest": train.digest,
        "test": test.name,
        "test_digest": test.digest,
        "class_names": list(train.class_names),
        "picture_size": list(train.images.size),
    }
    return {"digest": config.digest(train.digest, test.digest), "data": data, "config": config.resolved()}


def open_run(directory: Path, description: Mapping[str, Any], resume: bool) -> bool:
    """Make the folder, or enter it again; tell whether there is a checkpoint to go on from.

    Damaged checkpoints and results are set aside. Raises UsageError if the folder holds a run and `resume` is not
    set, or if it holds another run; DataError if its configuration is damaged.
    """
    path = directory / CONFIG
    if not path.is_file():
        if directory.is_dir() and any(map(_is_foreign, directory.iterdir())):
            raise UsageError(f"{directory}: not empty and no run; give an empty or new folder")
        directory.mkdir(parents=True, exist_ok=True)
        write_json(path, description)
        return False
    if not resume:
        raise UsageError(f"{directory}: holds a run already; add --resume to go on, or give another folder")
    earlier = read_description(directory)
    if earlier["digest"] != description["digest"]:
        odd = sorted(_differences(earlier, dict(description)))
        raise UsageError(
            f"{directory}: holds another run, which differs in {', '.join(odd)}; give another folder"
        )
    for name, read, instead in (
        (RESULT, _read_result, "the run makes its result again"),
        (metrics.METRICS_FILE, metrics.read_rows, "the run starts again"),
    ):
        try:
            if (directory / name).is_file():
                read(directory)
        except DataError as error:
            set_aside(directory / name, error, instead)
    while found := checkpoint.newest(directory):
        if is_usable(found):
            return True
    return False


def _is_foreign(path: Path) -> bool:
    """Return whether a file is something else than the temporary configuration that a killed run left."""
    return not path.name.startswith(f".{CONFIG}.")


def is_usable(path: Path) -> bool:
    """Return whether a run can go on from a checkpoint; one from which it cannot is set aside.

    The checkpoint must be whole, and its folder must hold the run's description and a row for every epoch done.
    """
    try:
        read_description(path.parent)
        rows, epochs = _count_rows(path.parent), checkpoint.read_progress(path).epoch
        if rows < epochs:
            raise DataError(
                f"{path}: {epochs} epochs are done, but {metrics.METRICS_FILE} holds {rows} of them"
            )
    except DataError as error:
        set_aside(path, error, "the run goes on from the checkpoint before, or starts again")
        return False
    return True


def _count_rows(directory: Path) -> int:
    try:
        return len(metrics.read_rows(directory))
    except DataError:
        return 0


def read_description(directory: Path) -> dict[str, Any]:
    """Return what config.json says. Raises DataError if it is damaged."""
    path = directory / CONFIG
    remedy = f"delete {directory} and run the same command again, which trains this run again"
    return parse_given(Description, path.read_bytes(), str(path), remedy)


def read_config(directory: Path) -> TrainConfig:
    """Return the configuration of the run in a folder. Raises DataError if there is none."""
    path = directory / CONFIG
    if not path.is_file():
        raise DataError(f"{path}: no run in this folder; train first")
    return build(TrainConfig, read_description(directory)["config"], str(path))


def read_data(directory: Path) -> dict[str, Any]:
    """Return what a run says about its sets. Raises DataError if there is no run, or one of before version 0.2."""
    read_config(directory)
    data: dict[str, Any] = read_description(directory)["data"]
    if "class_names" not in data:
        raise DataError(f"{directory / CONFIG}: says nothing about classes; train the run again")
    return data


def read_result(directory: Path) -> dict[str, Any] | None:
    """Return what a finished run measured; None if it has not finished, or if the file is damaged.

    To resume such a run makes the file again (`open_run`).
    """
    try:
        return _read_result(directory) if (directory / RESULT).is_file() else None
    except DataError:
        return None


def _read_result(directory: Path) -> dict[str, Any]:
    path = directory / RESULT
    return parse_given(Result, path.read_bytes(), str(path), "run the same command with --resume")


def _differences(one: Any, other: Any, name: str = "") -> set[str]:
    """Names, dotted, of the leaves in which two nested dictionaries differ."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        same = json.dumps(one) == json.dumps(other)  # tuples are lists once they were written
        return set() if same else {name}
    keys = (one.keys() | other.keys()) - {"digest"}
    parts = (_differences(one.get(k), other.get(k), f"{name}.{k}".lstrip(".")) for k in keys)
    return set().union(*parts)
