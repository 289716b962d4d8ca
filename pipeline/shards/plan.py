"""What a dataset is to hold: every set with a digest of its content, and how that differs from what is there."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import csv

from pipeline import files
from pipeline.noise.splits import LISTED_SCHEMA, Listed
from pipeline.shards import directory

PICTURES = "images"  # folder of the pictures that all sets of a shared dataset use
SPLIT_SCHEMA = LISTED_SCHEMA.append(pa.field("split", pa.string()))


@dataclass(frozen=True)
class SetPlan:
    """One set: its examples without pictures, and what its manifest will say.

    `facts["content_sha256"]` is a digest of all that decides its bytes, so that a set that would come out the same
    is not written again.
    """

    name: str
    listed: Listed
    facts: Mapping[str, Any]

    def is_written(self, dataset: str) -> bool:
        """Whether the set stands in `dataset` already, committed, with this content."""
        found = directory.find_manifest(files.join(dataset, self.name))
        return found is not None and found.about.get("content_sha256") == self.facts["content_sha256"]


def plan_set(
    name: str, listed: Listed, facts: Mapping[str, Any], images: pa.Table, layout: Mapping[str, Any]
) -> SetPlan:
    """Plan a set. `images` has image_id and sha256 (of the original), `layout` says how shards are written."""
    digest = hashlib.sha256(json.dumps([name, facts, layout], sort_keys=True).encode())
    position = pc.index_in(listed.examples["image_id"], images["image_id"])
    originals = images["sha256"].take(position)
    # As text, since equal Arrow tables need not be equal bytes.
    text = pa.BufferOutputStream()
    csv.write_csv(listed.examples.append_column("original", originals), text)
    digest.update(text.getvalue())
    return SetPlan(name, listed, {**facts, **layout, "content_sha256": digest.hexdigest()})


def all_pictures(plans: Sequence[SetPlan]) -> Listed:
    """The images that the sets use, once each, as examples of which only the ids are known."""
    ids = np.concatenate([plan.listed.examples["image_id"].to_numpy() for plan in plans])
    places, first = np.unique(np.concatenate([plan.listed.places for plan in plans]), return_index=True)
    columns = [
        pa.array(ids[first], pa.string()) if f.name == "image_id" else pa.nulls(len(first), f.type)
        for f in LISTED_SCHEMA
    ]
    return Listed(pa.table(columns, schema=pa.schema([f.with_nullable(True) for f in LISTED_SCHEMA])), places)


def changes(before: pa.Table, plans: Sequence[SetPlan]) -> dict[str, dict[str, int]]:
    """How the sets differ from those of an earlier build, for sets that differ.

    `before` has the earlier examples with their `split`. Counted are examples added, removed, and relabelled.
    """
    labels: dict[str, dict[str, int]] = {}
    for name, image_id, label in zip(
        *(before[c].to_pylist() for c in ("split", "image_id", "label")), strict=True
    ):
        labels.setdefault(name, {})[image_id] = label
    result = {name: {"added": 0, "removed": len(old), "relabelled": 0} for name, old in labels.items()}
    for plan in plans:
        old, examples = labels.get(plan.name, {}), plan.listed.examples
        new = dict(zip(examples["image_id"].to_pylist(), examples["label"].to_pylist(), strict=True))
        result[plan.name] = {
            "added": len(new.keys() - old.keys()),
            "removed": len(old.keys() - new.keys()),
            "relabelled": sum(new[i] != old[i] for i in new.keys() & old.keys()),
        }
    return {name: counts for name, counts in sorted(result.items()) if any(counts.values())}
