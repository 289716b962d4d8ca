"""The writing half of the split job: lists of examples and images → shards, manifests, card, and the dataset.

Every bucket of images is read once, and writes its part of all sets: images cross no shuffle, and twenty training
sets do not cost twenty readings.
"""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa
from pyarrow import compute as pc

from pipeline import files
from pipeline.jobs.tables import Written, count_written
from pipeline.running.progress import advance
from pipeline.shards import directory
from pipeline.shards.card import card
from pipeline.shards.croissant import croissant
from pipeline.shards.parquet import ROW_GROUP_ROWS, write_shard
from pipeline.shards.plan import PLANNED_SCHEMA, rows_of_sets
from schemas.example import EXAMPLE, PICTURE_SCHEMA, PICTURES, TEST_SPLIT, example_schema
from schemas.manifest import CARD, CROISSANT, MANIFEST, Shard


@dataclass(frozen=True)
class Task:
    """What every worker needs to know: where lists and images are, where sets go, and what is said of them.

    names: the sets that are to be written; facts: what the manifest of each set of the dataset says, about: that of
    the dataset itself. (Beam would look for the type of every single value, were they not in here.)
    """

    lists: str
    images: str
    place: str
    class_names: list[str]
    names: frozenset[str]
    shared: bool
    facts: dict[str, dict[str, Any]]
    about: dict[str, Any]

    def parts(self) -> list[tuple[int, int]]:
        """The shares of the work: bucket i of n. Lists without pictures have fewer and longer shards."""
        counts = {self.facts[name]["buckets"] for name in self.names}
        return [(index, count) for count in sorted(counts) for index in range(count)]


class WriteSets(beam.PTransform):
    """The lists of examples and the images → shards, manifests, card, and last the dataset's manifest."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Buckets → a shard of each set → a manifest of each set → the dataset."""
        return (
            pipeline
            | "Buckets" >> beam.Create(self.task.parts())
            | "SpreadBuckets" >> beam.Reshuffle()
            | "WriteBucket" >> beam.FlatMap(write_bucket, self.task)
            | "GatherSet" >> beam.GroupByKey()
            | "CommitSet" >> beam.Map(_commit_set, self.task)
            | "GatherSets" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
            | "CommitDataset" >> beam.Map(_commit_dataset, self.task)
        )


def write_bucket(part: tuple[int, int], task: Task) -> Iterator[tuple[str, Written]]:
    """Read the images of one bucket, and write its shard of every set of so many buckets that has examples in it."""
    index, count = part
    listed = directory.read_whole_bucket(task.lists, index, count, PLANNED_SCHEMA)
    wanted = {
        name: rows
        for name, rows in rows_of_sets(listed).items()
        if name in task.names and task.facts[name]["buckets"] == count
    }
    schemas = {name: _schema(name, task) for name in wanted}
    if any("image" in schema.names for schema in schemas.values()):
        pictures = directory.read_whole_bucket(task.images, index, count, PICTURE_SCHEMA)
        at = pc.index_in(listed["image_id"], pictures["image_id"]).combine_chunks()

    def write(name: str, rows: pa.Array) -> Shard | None:
        prefix = "test" if name == TEST_SPLIT else "part" if name == PICTURES else "train"
        file = directory.shard_name(prefix, index, count)
        schema = schemas[name]
        # A row group at a time, since pictures are copied.
        groups = (rows.slice(start, ROW_GROUP_ROWS) for start in range(0, len(rows), ROW_GROUP_ROWS))
        tables = (
            [listed.take(rows)]
            if "image" not in schema.names
            else (
                listed.take(group).append_column("image", pictures["image"].take(at.take(group)))
                for group in groups
            )
        )
        exact = (table.select(schema.names).cast(schema) for table in tables)
        return write_shard(files.join(task.place, name), file, schema, exact)

    with ThreadPoolExecutor(os.cpu_count()) as threads:  # encoding and hashing leave the interpreter free
        for name, shard in zip(wanted, threads.map(write, wanted, wanted.values()), strict=True):
            advance(len(wanted[name]))
            yield name, count_written(Written(shard), name)


def _schema(name: str, task: Task) -> pa.Schema:
    if name == PICTURES:
        return PICTURE_SCHEMA
    return example_schema(task.class_names, pictures=not task.shared)


def _commit_set(name_and_written: tuple[str, Iterable[Written]], task: Task) -> str:
    name, written = name_and_written
    shards = [part.shard for part in written if part.shard]
    table = "image" if name == PICTURES else EXAMPLE.name
    directory.commit(files.join(task.place, name), table, shards, task.facts[name])
    return name


def _commit_dataset(committed: list[str], task: Task) -> int:
    """Write card and manifest, once all sets that had to be written are there."""
    del committed  # only their being there matters
    place, facts, about = task.place, task.facts, task.about
    splits = {}
    manifests = {name: directory.read_manifest(files.join(place, name)) for name in sorted(facts)}
    for name, manifest in manifests.items():
        splits[name] = {
            "rows": manifest.rows,
            "colour": facts[name].get("colour"),
            "noise_level": facts[name].get("noise_level"),
            "trial": facts[name].get("trial"),
            "manifest_sha256": files.sha256(files.join(place, name, MANIFEST)),
        }
        if listed := facts[name].get("listed"):
            splits[name]["not_ingested"] = listed["not_ingested"]
    sets = {name: entry for name, entry in splits.items() if name != PICTURES}
    files.write_text(files.join(place, CARD), card(about["name"], sets, facts, about))
    described = {name: manifests[name] for name in sets}
    files.write_text(files.join(place, CROISSANT), croissant(about["name"], described, task.class_names))
    return directory.commit(place, "dataset", [], {**about, "splits": splits}).rows
