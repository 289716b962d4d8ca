"""Compare the tables of a build with the inputs that they were made from, and report outdated ones."""

from typing import NamedTuple

from pipeline.layout import STAGES, Layout
from pipeline.running.stage import manifest_digest
from pipeline.shards import directory
from schemas.manifest import Manifest


class DerivedTable(NamedTuple):
    """A table that a stage makes from other tables: its name in messages, its folder, and the folders of its inputs."""

    title: str
    folder: str
    inputs: dict[str, str]


_TITLES = {
    "retrievals": "the list of images", "images": "the images", "verdicts": "the verdicts",
    "error_model": "the error model", "duplicates": "the duplicates", "features": "the features",
}  # fmt: skip


def derived_tables(build: str) -> dict[str, DerivedTable]:
    """Return the table that each stage after ingest writes, with the tables that it reads, by stage."""
    layout = Layout(build)
    tables = {
        "retrievals": layout.retrievals,
        "images": layout.images,
        "verdicts": layout.verdicts,
        "duplicates": layout.duplicates,
    }
    return {
        "aggregate": DerivedTable(_TITLES["verdicts"], layout.verdicts, {"retrievals": layout.retrievals}),
        "embed": DerivedTable("the features", layout.features, {"images": layout.images}),
        "dedupe": DerivedTable(_TITLES["duplicates"], layout.duplicates, {"images": layout.images}),
        "audit": DerivedTable("the suspects", layout.suspects, {**tables, "features": layout.features}),
        "split": DerivedTable(
            "the sets",
            layout.dataset,
            tables | {"error_model": layout.error_model} | _features_of_sets(layout),
        ),
    }


def _features_of_sets(layout: Layout) -> dict[str, str]:
    """Return the folder of the features if the sets were made from them (color blue-instance)."""
    dataset = directory.valid_manifest(layout.dataset)
    stated = dataset.about.get("inputs") if dataset else None
    return {"features": layout.features} if isinstance(stated, dict) and "features" in stated else {}


def finished_stages(build: str) -> set[str]:
    """Return the stages after ingest whose tables exist, are of one build, and were made from the present tables.

    Raises DataError if a manifest is damaged.
    """
    finished = set[str]()
    for stage, derived in derived_tables(build).items():
        manifest = directory.find_manifest(derived.folder)
        inputs = {name: directory.find_manifest(folder) for name, folder in derived.inputs.items()}
        if manifest and all(inputs.values()) and not _newer_inputs(manifest, derived):
            finished.add(stage)
    return finished.difference(_interrupted_stages(build))


def outdated(build: str) -> list[str]:
    """Return one sentence, with the remedy, for each stage that was interrupted or is older than one of its inputs.

    Missing and damaged tables are skipped, so a dataset without its build gives no sentence.
    """
    sentences = [
        f"the tables of {stage} are of different builds; run {stage}" for stage in _interrupted_stages(build)
    ]
    for stage, derived in derived_tables(build).items():
        manifest = directory.valid_manifest(derived.folder)
        if manifest and (names := _newer_inputs(manifest, derived)):
            newer = " and ".join(_TITLES[name] for name in names)
            sentences.append(f"{derived.title} are older than {newer}; run {stage}")
    return sentences


def _interrupted_stages(build: str) -> list[str]:
    """Return the stages whose tables are not all of the same build: a commit was interrupted between two of them."""
    found = []
    for stage in STAGES:
        manifests = map(directory.valid_manifest, Layout(build).outputs(stage))
        # Lists of examples of earlier versions do not state what they were made from.
        if len({each.about["made_from"] for each in manifests if each and "made_from" in each.about}) > 1:
            found.append(stage)
    return found


def _newer_inputs(manifest: Manifest, derived: DerivedTable) -> list[str]:
    """Return the names of the existing inputs that differ from those that the table was made from."""
    stated = manifest.about.get("inputs")
    known = stated if isinstance(stated, dict) else {}
    return [
        name
        for name, folder in derived.inputs.items()
        if directory.valid_manifest(folder) and known.get(name) != manifest_digest(folder)
    ]
