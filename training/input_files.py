"""The files of weights that a run needs beside its checkpoints, identified by content.

A configuration names them by path, and another file may take that path later. Initial weights that are trained are not
among them: checkpoints hold them. Nor are downloaded weights, which have no path.
"""

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path

from common.errors import DataError
from training.config import NetworkConfig, TrainConfig
from training.method_config import MentorNetConfig
from training.models.weights import PRETRAINED, find_weights


def input_digests(config: TrainConfig) -> dict[str, str]:
    """Return the SHA-256 of each file, 64 hex digits, by configuration key.

    Files that do not exist are left out: what reads them says so.
    """
    section = getattr(config, config.method, None)
    mentor = section.weights if isinstance(section, MentorNetConfig) else ""
    return backbone_digest(config.network) | _digest(f"{config.method}.weights", Path(mentor))


def backbone_digest(network: NetworkConfig) -> dict[str, str]:
    """Return the entry of `input_digests` for the weights of a frozen network; empty for other networks."""
    if not network.frozen or network.weights == PRETRAINED:
        return {}
    return _digest("network.weights", find_weights(network.weights, network.name))


def check_digests(run: Path, recorded: Mapping[str, str], found: Mapping[str, str]) -> None:
    """Raise DataError if a file is not the one that a run has recorded. Runs of older versions have no record."""
    for key in recorded.keys() & found.keys():
        if recorded[key] != found[key]:
            raise DataError(
                f"{key}: the file has changed since {run} was trained with it (SHA-256 {found[key][:16]}…, then "
                f"{recorded[key][:16]}…); put back the earlier file, or train in another folder"
            )


def _digest(key: str, path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    status = path.stat()
    return {key: _sha256(path, status.st_size, status.st_mtime_ns)}


@functools.lru_cache(maxsize=16)
def _sha256(path: Path, _size: int, _changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
