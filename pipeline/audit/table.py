"""Write the table of suspects, and read what it says about a build."""

import hashlib
import json
from importlib.metadata import version
from typing import Any

import numpy as np
import pyarrow as pa

from common.errors import DataError
from pipeline import files
from pipeline.audit.audit import Audit, audit
from pipeline.audit.inputs import (
    SOURCES,
    STATES,
    AuditInputs,
    feature_blocks,
    input_folders,
    read_inputs,
)
from pipeline.keyed_hash import bucket, bucket_count, shard_key
from pipeline.layout import Layout
from pipeline.shards import commit, directory
from pipeline.shards.parquet import StagedShard, write_shard
from schemas.manifest import MANIFEST, Manifest
from schemas.suspect import SUSPECT

AUDIT_VERSION = 1  # increment if the audit writes something else for the same input
SHARD_ROWS = 1 << 20
_LIBRARIES = ("numpy", "pyarrow", "scipy")
_DIGITS = 4  # of probabilities, so that the last bits of exp and log leave no trace


def audit_build(output: str, force: bool = False) -> tuple[Manifest, bool]:
    """Audit the build in `output` unless its audit is up to date; return the manifest of the table and whether it was.

    Raises DataError if the build has no features, or if they or other tables are missing or older than the images.
    """
    folder = Layout(output).suspects
    about = _about(output)
    present = directory.valid_manifest(folder)
    is_current = present is not None and present.about.get("made_from") == about["made_from"]
    if present and is_current and not force and directory.size_problem(folder, present) is None:
        return present, True
    commit.prepare(folder)
    inputs = read_inputs(output)
    try:
        result = audit(lambda: feature_blocks(output), inputs)
    except ValueError as error:
        raise DataError(f"{output}: {error}; the audit needs more clean images or verdicts") from error
    shards, buckets = _write(folder, suspect_table(inputs, result))
    return commit.commit(folder, SUSPECT.name, shards, {**about, "buckets": buckets, **result.facts}), False


def _about(output: str) -> dict[str, Any]:
    """Return the inputs of the audit with their digest."""
    folders = input_folders(output)
    if directory.find_manifest(folders["features"]) is None:
        raise DataError(
            f"{output}: the build has no features; set embed.weights and embed.network in its configuration, and run "
            f"`python -m pipeline embed` (docs/how-to/embed.md)"
        )
    inputs = {}
    for name, folder in folders.items():
        directory.read_manifest(folder)
        inputs[name] = files.sha256(files.join(folder, MANIFEST))
    directory.check_current(folders["verdicts"], inputs["retrievals"], "aggregate", "retrievals")
    for name, stage in (("features", "embed"), ("duplicates", "dedupe")):
        directory.check_current(folders[name], inputs["images"], stage)
    libraries = {name: version(name) for name in _LIBRARIES}
    text = json.dumps([AUDIT_VERSION, inputs, libraries], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {"stage": "audit", "inputs": inputs, "libraries": libraries, "made_from": digest}


def suspect_table(inputs: AuditInputs, result: Audit) -> pa.Table:
    """Return the rows of the table, one for each question, by image and class."""
    names = pa.array(inputs.class_names, pa.string())
    columns = {
        "image_id": inputs.image_ids.take(pa.array(inputs.question_images)),
        "class_name": names.take(pa.array(inputs.question_classes)),
        "source": pa.array(SOURCES, pa.string()).take(pa.array(inputs.sources)),
        "verdict": pa.array(STATES, pa.string()).take(pa.array(inputs.states)),
        "p_error": _nullable(result.p_error),
        "p_wrong": _nullable(result.p_wrong),
        "p_wrong_votes": _nullable(result.p_wrong_votes),
        "p_wrong_features": _nullable(result.p_wrong_features),
        "neighbor_share": _nullable(result.evidence.neighbor_share),
        "probable_class": names.take(pa.array(result.evidence.guess)),
        "probable_share": _nullable(result.evidence.guess_share),
    }
    return pa.table([columns[field.name] for field in SUSPECT.schema], schema=SUSPECT.schema)


def _nullable(values: np.ndarray) -> pa.Array:
    return pa.array(np.round(values, _DIGITS).astype(np.float32), mask=np.isnan(values))


def _write(folder: str, rows: pa.Table) -> tuple[list[StagedShard], int]:
    """Stage the rows as shards, which are ranges of the shard key; return them with the number of buckets."""
    buckets = bucket_count(rows.num_rows, SHARD_ROWS)
    starts = np.searchsorted(bucket(shard_key(rows["image_id"]), buckets), np.arange(buckets + 1))
    staged = [
        write_shard(
            folder,
            directory.shard_stem("part", index, buckets),
            SUSPECT.schema,
            [rows.slice(starts[index], starts[index + 1] - starts[index])],
        )
        for index in range(buckets)
    ]
    return [shard for shard in staged if shard], buckets
