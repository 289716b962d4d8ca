"""Stages of a build: the key of inputs and configuration that decides whether a stage's tables are up to date."""

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
LIBRARIES = ("numpy", "pandas", "pillow", "pyarrow", "simplejpeg")

# Increment a version if the stage writes something else for the same input: tables of older versions are rebuilt.
STAGE_VERSIONS = {"fetch": 3, "ingest": 14, "aggregate": 14, "embed": 1, "dedupe": 7, "split": 16}


@cache
def library_versions() -> dict[str, str]:
    """Return the installed versions of LIBRARIES."""
    return {name: version(name) for name in LIBRARIES}


@dataclass(frozen=True)
class Stage:
    """A step of a build with the inputs and configuration that determine its output.

    `inputs` maps names to digests. Of `config`, only fields marked as affecting the output of this stage matter
    (pipeline/config.py).
    """

    name: str
    inputs: Mapping[str, str]
    config: BuildConfig

    @property
    def about(self) -> dict[str, Any]:
        """Description of the stage for its manifests; `made_from` is the digest of all of it and the stage version."""
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
        """Return whether all folders hold complete tables of this stage, made from the same inputs and configuration.

        A table with a damaged manifest, a missing shard or a shard of another size counts as missing.
        """
        return all(self._is_whole(folder) for folder in folders)

    def _is_whole(self, folder: str) -> bool:
        manifest = directory.valid_manifest(folder)
        if manifest is None or manifest.about.get("made_from") != self.about["made_from"]:
            return False
        return directory.size_problem(folder, manifest) is None


@dataclass(frozen=True)
class StageResult:
    """Manifests of a stage's tables by name, whether they were up to date before the run, and lines to print."""

    manifests: Mapping[str, Manifest]
    up_to_date: bool
    notes: Sequence[str] = ()


def manifest_digest(folder: str) -> str:
    """Return the digest of a table's manifest, which holds the digests of all shards."""
    directory.read_manifest(folder)
    return files.sha256(files.join(folder, MANIFEST))


def counts(manifest: Manifest) -> dict[str, int]:
    """Return the counts of a stage, summed over its tasks."""
    return dict(manifest.about.get("counts", {}))
