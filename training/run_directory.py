"""The folder of a run: config.json is written first, result.json last; metrics and checkpoints between them."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from common.atomic_file import TEMPORARY_PREFIX
from common.config import build
from common.errors import DataError, UsageError
from common.json_records import parse_given, parse_json
from common.locks import try_lock
from training import checkpoint, metrics
from training.config import TrainConfig
from training.data.shards import ImageSet
from training.input_files import check_digests, input_digests
from training.records import RunData, RunDescription, RunResult
from training.state_files import set_aside, write_json

CONFIG = "config.json"
RESULT = "result.json"
LOCK = ".lock"  # held by the process that trains; the file stays
INPUT_DIGESTS = "input_digests"  # key of config.json


def describe(config: TrainConfig, train: ImageSet, test: ImageSet) -> dict[str, Any]:
    """Return the content of config.json: configuration, digests of the sets, their classes and image size, and the digests
    of other files if there are any (`input_digests`).

    `digest` identifies the run: the configuration, and the sets by their identities.
    """
    data = {
        "train": train.name,
        "train_digest": train.digest,
        "test": test.name,
        "test_digest": test.digest,
        "class_names": list(train.class_names),
        "image_size": list(train.images.size),
    }
    digest = config.digest(train.identity, test.identity)
    files = input_digests(config)
    description = {"digest": digest, "data": data, "config": config.resolved()}
    return description | ({INPUT_DIGESTS: files} if files else {})


def check_folder(directory: Path, description: Mapping[str, Any], resume: bool) -> bool:
    """Return whether a folder has the run that `description` describes; it is not changed.

    Raises UsageError if it has a run and `resume` is false, if it has another run, or if it has other files; DataError if
    its configuration is damaged, or if a file of `input_digests` has changed.
    """
    if not (directory / CONFIG).is_file():
        if directory.is_file():
            raise UsageError(f"{directory}: not a folder; give an empty or new folder")
        if directory.is_dir() and any(map(_is_foreign, directory.iterdir())):
            raise UsageError(
                f"{directory}: the folder is not empty and has no run (no {CONFIG}); give an empty or new folder"
            )
        return False
    earlier = read_description(directory)
    if not resume:
        raise UsageError(
            f"{directory}: the folder already has a run; add --resume to continue it, or give another folder"
        )
    if earlier["digest"] != description["digest"]:
        parts = (_differing_keys(earlier[part], description[part], part) for part in ("config", "data"))
        differing = sorted(set().union(*parts))
        raise UsageError(
            f"{directory}: the folder has another run, which differs in {', '.join(differing)}; give another folder"
        )
    check_inputs(directory, description.get(INPUT_DIGESTS) or {})
    return True


def open_run(directory: Path, description: Mapping[str, Any], resume: bool) -> bool:
    """Create the folder of a run, or open it to resume; return whether it has a usable checkpoint.

    Damaged checkpoints, metrics and results are set aside. Raises the exceptions of `check_folder`.
    """
    if not check_folder(directory, description, resume):
        directory.mkdir(parents=True, exist_ok=True)
        write_json(directory / CONFIG, description)
        return False
    for name, read, consequence in (
        (RESULT, _read_result, "the result is written again"),
        (metrics.METRICS_FILE, metrics.read_rows, "the run starts again"),
    ):
        try:
            if (directory / name).is_file():
                read(directory)
        except DataError as error:
            set_aside(directory / name, error, consequence)
    while newest := checkpoint.newest(directory):
        if is_usable(newest):
            return True
    return False


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Create the folder of a run and lock it during the block. Raises UsageError if another process trains in it.

    Two processes would both append rows to the metrics and remove each other's checkpoints. The lock ends with its process.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with try_lock(directory / LOCK) as taken:
        if not taken:
            raise UsageError(
                f"{directory}: another command is training in this folder; wait until it ends, or give another folder"
            )
        yield


def check_unlocked(directory: Path) -> None:
    """Raise UsageError if a process trains in a folder."""
    if (directory / LOCK).is_file():
        with locked(directory):
            pass


def _is_foreign(path: Path) -> bool:
    """Return whether a file is something else than what a run leaves that was killed before it began."""
    return path.name != LOCK and not path.name.startswith(TEMPORARY_PREFIX)


def is_usable(path: Path) -> bool:
    """Return whether a run can resume from a checkpoint; a checkpoint from which it cannot is set aside.

    The checkpoint must be complete, and its folder must have the run's configuration and a metrics row for each epoch.
    """
    try:
        read_description(path.parent)
        rows, epochs = _count_rows(path.parent), checkpoint.read_progress(path).epoch
        if rows < epochs:
            raise DataError(
                f"{path}: {epochs} epochs are done, but {metrics.METRICS_FILE} holds {rows} of them"
            )
    except DataError as error:
        set_aside(path, error, "the run resumes from the checkpoint before, or starts again")
        return False
    return True


def _count_rows(directory: Path) -> int:
    try:
        return len(metrics.read_rows(directory))
    except DataError:
        return 0


def recorded(directory: Path, key: str) -> Any:
    """Return a value of config.json, or None if there is no run or it lacks the key."""
    return read_description(directory).get(key) if (directory / CONFIG).is_file() else None


def read_description(directory: Path) -> dict[str, Any]:
    """Return the content of config.json. Raises DataError if it is damaged, or not that of a run."""
    path = directory / CONFIG
    text = path.read_bytes()
    if _has_no_key_of_a_run(text):
        raise DataError(
            f"{path}: not the configuration of a run (it has none of the keys digest, data and config); give the folder of a "
            "run, or, to train, an empty or new folder"
        )
    remedy = f"delete {directory} and run the same command again, which trains this run again"
    return parse_given(RunDescription, text, str(path), remedy)


def _has_no_key_of_a_run(text: bytes) -> bool:
    """Return whether a config.json is a JSON object without any required key of a run, as those of exported networks are."""
    try:
        content = parse_json(text.decode("utf-8"))
    except ValueError:
        return False
    return isinstance(content, dict) and not content.keys() & {"digest", "data", "config"}


def read_config(directory: Path) -> TrainConfig:
    """Return the configuration of the run in a folder. Raises DataError if there is none."""
    path = directory / CONFIG
    if not path.is_file():
        raise DataError(
            f"{path}: missing, so this folder has no run; train first, or give the folder of a run"
        )
    return build(TrainConfig, read_description(directory)["config"], str(path))


def check_inputs(directory: Path, found: Mapping[str, str]) -> None:
    """Raise DataError if one of the files with the SHA-256 `found`, by configuration key, is not that of a run."""
    check_digests(directory, recorded(directory, INPUT_DIGESTS) or {}, found)


def read_data(directory: Path) -> RunData:
    """Return the description of a run's sets. Raises DataError if there is no run, or if it is damaged or of version 0.1."""
    read_config(directory)
    data: dict[str, Any] = read_description(directory)["data"]
    if "picture_size" in data:  # version 0.1
        data["image_size"] = data.pop("picture_size")
    if "class_names" not in data:
        raise DataError(
            f"{directory / CONFIG}: 'class_names' is missing, as in runs of version 0.1; train the run again"
        )
    known = {field.name: data[field.name] for field in fields(RunData) if field.name in data}
    try:
        return build(RunData, known, f"{directory / CONFIG}: data")
    except UsageError as error:
        raise DataError(f"{error}; train the run again") from error


def read_result(directory: Path) -> dict[str, Any] | None:
    """Return the result of a finished run; None if it has not finished, or if the file is damaged.

    Resuming a run with a damaged result writes the file again.
    """
    try:
        return _read_result(directory) if (directory / RESULT).is_file() else None
    except DataError:
        return None


def _read_result(directory: Path) -> dict[str, Any]:
    path = directory / RESULT
    return parse_given(RunResult, path.read_bytes(), str(path), "run the same command with --resume")


def _differing_keys(earlier: Any, present: Any, name: str) -> set[str]:
    """Return the dotted names of the values in which two nested dictionaries, both called `name`, differ."""
    if not (isinstance(earlier, dict) and isinstance(present, dict)):
        same = json.dumps(earlier) == json.dumps(present)  # JSON turns tuples into lists
        return set() if same else {name}
    keys = earlier.keys() | present.keys()
    parts = (_differing_keys(earlier.get(key), present.get(key), f"{name}.{key}") for key in keys)
    return set().union(*parts)
