"""A stage of a build: its folder, what it was made from, and whether it is still up to date."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

from pipeline import files
from pipeline.shards import directory
from schemas.manifest import MANIFEST, Manifest

# Raised by whoever changes what a stage writes for the same input: old results are then made anew.
STAGE_VERSIONS = {"fetch": 1, "ingest": 7, "label": 5, "dedupe": 3, "split": 3}
LIMITS = {
    "max_rejected_share"
}  # held against what there is, whenever it was made: a stage does not obey them


@dataclass(frozen=True)
class Stage:
    """A named step of the build.

    `inputs` are digests of what it reads, by name; `config` is the part of the configuration that it obeys.
    Both are kept in the manifests that the stage writes, and decide whether it must run again.
    """

    name: str
    inputs: Mapping[str, str]
    config: Mapping[str, Any]

    @property
    def about(self) -> dict[str, Any]:
        """What the stage's manifests say of it."""
        config = {key: value for key, value in self.config.items() if key not in LIMITS}
        text = json.dumps([STAGE_VERSIONS[self.name], self.inputs, config], sort_keys=True)
        return {
            "stage": self.name,
            "inputs": dict(self.inputs),
            "config": config,
            "made_from": hashlib.sha256(text.encode()).hexdigest(),
        }

    def is_done(self, *folders: str) -> bool:
        """Whether all folders were committed by this stage from the same inputs and configuration."""
        made_from = self.about["made_from"]
        manifests = [directory.find_manifest(folder) for folder in folders]
        return all(found is not None and found.about.get("made_from") == made_from for found in manifests)


def plain(config: Any) -> Any:
    """A configuration value as JSON has it."""
    if is_dataclass(config) and not isinstance(config, type):
        return plain(asdict(config))
    if isinstance(config, Mapping):
        return {key: plain(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [plain(value) for value in config]
    return config


def manifest_digest(folder: str) -> str:
    """Digest of a committed directory: its manifest holds the digests of all its shards."""
    directory.read_manifest(folder)
    return files.sha256(files.join(folder, MANIFEST))


def counts(manifest: Manifest) -> dict[str, int]:
    """The counts that a stage's tasks have summed up."""
    return dict(manifest.about.get("counts", {}))


_RULES = (
    "max_bytes", "timeout_seconds", "deadline_seconds", "tries", "max_wait_seconds", "robots_txt", "x_robots_tag",
    "tdm_reservation", "allow_private_hosts", "contact",
)  # fmt: skip


def rules(config: Any) -> dict[str, Any]:
    return {name: getattr(config, name) for name in _RULES}


def rules_digest(config: Any) -> str:
    return hashlib.sha256(json.dumps(rules(config), sort_keys=True).encode()).hexdigest()[:16]
