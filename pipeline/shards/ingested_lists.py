"""Read what the manifest of the retrievals says of the lists of a build: the classes, the files and the settings."""

from dataclasses import dataclass
from typing import Any

from common.errors import DataError
from pipeline import files
from pipeline.shards import directory
from schemas.manifest import MANIFEST


@dataclass(frozen=True)
class IngestedLists:
    """classes: their names, in the order of the configuration. inputs: digests of what was read. config: of the stage ingest."""

    classes: list[str]
    inputs: dict[str, Any]
    config: dict[str, Any]


def read_ingested_lists(retrievals: str) -> IngestedLists:
    """Read the manifest in the folder of the retrievals. Raises DataError if it is missing or damaged."""
    about = directory.read_manifest(retrievals).about
    config, inputs = about.get("config"), about.get("inputs")
    if isinstance(config, dict) and isinstance(inputs, dict):
        classes = config.get("classes")
        if isinstance(classes, list) and all(isinstance(name, str) for name in classes):
            return IngestedLists(classes, inputs, config)
    raise DataError(
        f"{files.join(retrievals, MANIFEST)}: classes, inputs or configuration are missing or not valid; run ingest again "
        "with --force, or restore the file"
    )
