"""Whether the tables of a build were made from the tables that are there now."""

from typing import NamedTuple

from pipeline.layout import Layout
from pipeline.running.stage import manifest_digest
from pipeline.shards import directory
from schemas.manifest import Manifest


class Derived(NamedTuple):
    """A table that a stage makes from others: what it is called in messages, its folder, and those of its inputs."""

    title: str
    folder: str
    inputs: dict[str, str]


_TITLES = {
    "retrievals": "the list of images", "images": "the images", "verdicts": "the verdicts",
    "duplicates": "the duplicates",
}  # fmt: skip


def derived_tables(build: str) -> dict[str, Derived]:
    """Return what the stages after ingest write, and the tables of earlier stages that they read, by stage."""
    layout = Layout(build)
    tables = {
        "retrievals": layout.retrievals,
        "images": layout.images,
        "verdicts": layout.verdicts,
        "duplicates": layout.duplicates,
    }
    return {
        "aggregate": Derived(_TITLES["verdicts"], layout.verdicts, {"retrievals": layout.retrievals}),
        "dedupe": Derived(_TITLES["duplicates"], layout.duplicates, {"images": layout.images}),
        "split": Derived("the sets", layout.dataset, tables),
    }


def finished_stages(build: str) -> set[str]:
    """Return the stages after ingest whose tables are there, and made from the tables that are there.

    Raises DataError if a manifest is damaged.
    """
    finished = set[str]()
    for stage, derived in derived_tables(build).items():
        manifest = directory.find_manifest(derived.folder)
        there = {name: directory.find_manifest(folder) for name, folder in derived.inputs.items()}
        if manifest and all(there.values()) and not _newer(manifest, derived):
            finished.add(stage)
    return finished


def outdated(build: str) -> list[str]:
    """Return a sentence, with the remedy, for each table that was made from others than are there now.

    Tables that are missing or damaged are passed over, so nothing is said of a dataset without its build.
    """
    found = []
    for stage, derived in derived_tables(build).items():
        manifest = directory.valid_manifest(derived.folder)
        if manifest and (names := _newer(manifest, derived)):
            newer = " and ".join(_TITLES[name] for name in names)
            found.append(f"{derived.title} are older than {newer}; run {stage}")
    return found


def _newer(manifest: Manifest, derived: Derived) -> list[str]:
    """The inputs that are there and are not those that the table was made from."""
    stated = manifest.about.get("inputs")
    known = stated if isinstance(stated, dict) else {}
    return [
        name
        for name, folder in derived.inputs.items()
        if directory.valid_manifest(folder) and known.get(name) != manifest_digest(folder)
    ]
