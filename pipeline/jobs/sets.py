"""The writing half of the split job: lists of examples and images → shards, manifests, card, and the dataset.

Every bucket of images is read once, and writes its part of all sets: images cross no shuffle, and twenty training
sets do not cost twenty readings.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa

from pipeline import files
from pipeline.jobs.progress import advance
from pipeline.jobs.tables import Written, count_written
from pipeline.noise.splits import LISTED_SCHEMA, TEST_SPLIT
from pipeline.shards import directory
from pipeline.shards.card import card
from pipeline.shards.croissant import croissant
from pipeline.shards.parquet import ROW_GROUP_ROWS, write_shard
from pipeline.shards.plan import PICTURES, SPLIT_SCHEMA
from schemas.example import EXAMPLE, PICTURE_SCHEMA, example_schema
from schemas.manifest import MANIFEST


@dataclass(frozen=True)
class Task:
    """What every worker needs to know: where lists and images are, where sets go, and which are to be written."""

    lists: str
    images: str
    place: str
    class_names: list[str]
    buckets: int
    names: frozenset[str]
    shared: bool


class WriteSets(beam.PTransform):
    """The lists of examples and the images → shards, manifests, card, and last the dataset's manifest."""

    def __init__(self, task: Task, facts: dict[str, dict[str, Any]], about: dict[str, Any]) -> None:
        super().__init__()
        self.task, self.facts, self.about = task, facts, about

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Buckets → a shard of each set → a manifest of each set → the dataset."""
        return (
            pipeline
            | "Buckets" >> beam.Create(list(range(self.task.buckets)))
            | "SpreadBuckets" >> beam.Reshuffle()
            | "WriteBucket" >> beam.FlatMap(write_bucket, self.task)
            | "GatherSet" >> beam.GroupByKey()
            | "CommitSet" >> beam.Map(_commit_set, self.task.place, self.facts)
            | "GatherSets" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
            | "CommitDataset" >> beam.Map(_commit_dataset, self.task.place, self.facts, self.about)
        )


def write_bucket(index: int, task: Task) -> Iterator[tuple[str, Written]]:
    """Read the images of one bucket, and write the bucket's shard of every set that has examples in it."""
    empty = pa.schema([field.with_nullable(True) for field in SPLIT_SCHEMA]).empty_table()
    listed = pa.concat_tables([empty, *directory.read_bucket(task.lists, index, task.buckets)])
    listed = listed.filter(pa.compute.is_in(listed["split"], pa.array(sorted(task.names), pa.string())))
    no_pictures = PICTURE_SCHEMA.empty_table()
    used = listed["image_id"].unique()
    found = directory.read_bucket(task.images, index, task.buckets, no_pictures.column_names)
    kept = [part.filter(pa.compute.is_in(part["image_id"], used)).cast(no_pictures.schema) for part in found]
    pictures = pa.concat_tables([no_pictures, *kept]).combine_chunks()
    for name in listed["split"].unique().to_pylist():
        examples = listed.filter(pa.compute.equal(listed["split"], name))
        prefix = "test" if name == TEST_SPLIT else "part" if name == PICTURES else "train"
        file = directory.shard_name(prefix, index, task.buckets)
        schema = _schema(name, task)
        tables: Iterable[pa.Table] = [examples.select(LISTED_SCHEMA.names)]
        if "image" in schema.names:
            tables = _with_pictures(examples, pictures)
        shard = write_shard(
            files.join(task.place, name), file, schema, (t.select(schema.names).cast(schema) for t in tables)
        )
        advance(examples.num_rows)
        yield name, count_written(Written(shard), name)


def _schema(name: str, task: Task) -> pa.Schema:
    if name == PICTURES:
        return PICTURE_SCHEMA
    return example_schema(task.class_names, pictures=not task.shared)


def _with_pictures(examples: pa.Table, pictures: pa.Table) -> Iterator[pa.Table]:
    """Examples with their pictures, copied a row group at a time."""
    rows = pa.compute.index_in(examples["image_id"], pictures["image_id"])
    for start in range(0, examples.num_rows, ROW_GROUP_ROWS):
        image = pictures["image"].take(rows.slice(start, ROW_GROUP_ROWS))
        yield examples.slice(start, ROW_GROUP_ROWS).append_column("image", image)


def _commit_set(
    name_and_written: tuple[str, Iterable[Written]], place: str, facts: dict[str, dict[str, Any]]
) -> str:
    name, written = name_and_written
    shards = [part.shard for part in written if part.shard]
    directory.commit(
        files.join(place, name), "image" if name == PICTURES else EXAMPLE.name, shards, facts[name]
    )
    return name


def _commit_dataset(
    committed: list[str], place: str, facts: dict[str, dict[str, Any]], about: dict[str, Any]
) -> int:
    """Write card and manifest, once all sets that had to be written are there."""
    del committed  # only their being there matters
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
    sets = {name: entry for name, entry in splits.items() if name != PICTURES}
    files.write_text(files.join(place, "README.md"), card(about["name"], sets, facts, about))
    described = {name: manifests[name] for name in sets}
    class_names = about["config"]["classes"]
    files.write_text(files.join(place, "croissant.json"), croissant(about["name"], described, class_names))
    return directory.commit(place, "dataset", [], {**about, "splits": splits}).rows
