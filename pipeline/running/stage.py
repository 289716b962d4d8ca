"""The stages of a build: what each was made from, and whether its tables are up to date."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

from common.config import stage_values
from pipeline import files
from pipeline.config import BuildConfig
from pipeline.shards import directory
from schemas.manifest import MANIFEST, Manifest

# Libraries whose versions may change the bytes of a table.
LIBRARIES = ("numpy", "pandas", "pillow", "pyarrow")

# Raise a version if the stage writes something else for the same input: tables of an older version are made again.
STAGE_VERSIONS = {"fetch": 3, "ingest": 11, "aggregate": 10, "dedupe": 6, "split": 7}


@cache
def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that the bytes of tables depend on, as installed in this process."""
    return {name: version(name) for name in LIBRARIES}


@dataclass(frozen=True)
class Stage:
    """A step of a build with the inputs and the configuration that decide what it writes.

    `inputs` are digests of what it reads, by name. Of `config` only the fields count that are marked as affecting the
    output of this stage (pipeline/config.py).
    """

    name: str
    inputs: Mapping[str, str]
    config: BuildConfig

    @property
    def about(self) -> dict[str, Any]:
        """What the manifests of the stage say about it; `made_from` is the digest of the rest and of the version."""
        config = stage_values(self.config, self.name)
        libraries = library_versions()
        text = json.dumps([STAGE_VERSIONS[self.name], self.inputs, config, libraries], sort_keys=True)
        return {
            "stage": self.name,
            "inputs": dict(self.inputs),
            "config": config,
            "libraries": libraries,
            "made_from": hashlib.sha256(text.encode()).hexdigest(),
        }

    def is_done(self, *folders: str) -> bool:
        """Return whether all folders hold whole tables of this stage, made from the same inputs and configuration.

        A damaged manifest, and a shard that is missing or has another size, make a table one that is not there.
        """
        return all(self._is_whole(folder) for folder in folders)

    def _is_whole(self, folder: str) -> bool:
        manifest = directory.valid_manifest(folder)
        if manifest is None or manifest.about.get("made_from") != self.about["made_from"]:
            return False
        return directory.size_problem(folder, manifest) is None


@dataclass(frozen=True)
class StageResult:
    """The manifests of the tables of a stage, by name, whether they were up to date before it ran, and lines to print."""

    manifests: Mapping[str, Manifest]
    up_to_date: bool
    notes: Sequence[str] = ()


def manifest_digest(folder: str) -> str:
    """Digest of a committed directory: its manifest holds the digests of all its shards."""
    directory.read_manifest(folder)
    return files.sha256(files.join(folder, MANIFEST))


def counts(manifest: Manifest) -> dict[str, int]:
    """The counts that a stage's tasks have summed up."""
    return dict(manifest.about.get("counts", {}))
