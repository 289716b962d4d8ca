"""The writing half of the split job: lists of examples and images → shards, manifests, card, and the dataset.

Every bucket of images is read once, and writes its part of all sets: images cross no shuffle, and twenty training
sets do not cost twenty readings.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa
from pyarrow import compute as pc

from common.errors import DataError
from pipeline import files
from pipeline.jobs.tables import Written, check_libraries, count_written
from pipeline.running.progress import advance
from pipeline.shards import commit, directory
from pipeline.shards.card import card
from pipeline.shards.croissant import croissant
from pipeline.shards.parquet import ROW_GROUP_ROWS, StagedShard, write_shard
from pipeline.shards.plan import PLANNED_SCHEMA, rows_of_sets
from schemas.example import EXAMPLE, PICTURE_SCHEMA, PICTURES, TEST_SPLIT, example_schema
from schemas.image import IMAGES
from schemas.manifest import CARD, CROISSANT, MANIFEST, Manifest, Shard


@dataclass(frozen=True)
class Part:
    """One task: bucket `index` of `count`, with the shards that hold its lists of examples and its pictures."""

    index: int
    count: int
    lists: list[Shard]
    images: list[Shard]


@dataclass(frozen=True)
class Task:
    """What all tasks of the job know: where lists and images are, where sets go, and what is said of them.

    lists: folder of the lists of examples; staged: their shards, which are committed with the dataset, with the facts
    `lists_about`. names: the sets that are to be written. facts: what the manifest of each set of the dataset says; about:
    that of the dataset itself. changes: path and text of the report on what changes. (Beam would look for the type of
    every single value, were they not in here.)
    """

    lists: str
    staged: tuple[StagedShard, ...]
    lists_about: dict[str, Any]
    images: str
    dataset: str
    class_names: list[str]
    names: frozenset[str]
    shared: bool
    facts: dict[str, dict[str, Any]]
    about: dict[str, Any]
    changes: tuple[str, str]

    def parts(self) -> list[Part]:
        """Return the tasks. Lists without pictures have fewer and longer shards."""
        images = directory.read_manifest(self.images).shards
        found = []
        for count in sorted({self.facts[name]["buckets"] for name in self.names}):
            by_name = {each.shard.file: each.before_commit() for each in self.staged}
            lists = directory.by_bucket([each.shard for each in self.staged], count)
            names = [name for name in self.names if self.facts[name]["buckets"] == count]
            with_pictures = any(self.has_pictures(name) for name in names)
            pictures = directory.by_bucket(images, count) if with_pictures else {}
            found += [
                Part(index, count, [by_name[shard.file] for shard in shards], pictures.get(index, []))
                for index, shards in lists.items()
            ]
        return found

    def has_pictures(self, name: str) -> bool:
        """Return whether the shards of a set hold pictures."""
        return name == PICTURES or not self.shared

    def folder(self, name: str) -> str:
        """Return the folder of a set."""
        return files.join(self.dataset, name)


class WriteSets(beam.PTransform):
    """The lists of examples and the images → shards, manifests, card, and last the dataset's manifest."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Buckets → a shard of each set → the manifest of each set → the dataset."""
        written = (
            pipeline
            | "Buckets" >> beam.Create(self.task.parts())
            | "SpreadBuckets" >> beam.Reshuffle()
            | "WriteBucket" >> beam.FlatMap(write_bucket, self.task)
        )
        # A set that has no shard is committed, too.
        names = pipeline | "Sets" >> beam.Create([(name, Written()) for name in sorted(self.task.names)])
        return (
            (written, names)
            | "Written" >> beam.Flatten()
            | "GatherSet" >> beam.GroupByKey()
            | "PublishSet" >> beam.Map(publish_set, self.task)
            | "GatherSets" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
            | "CommitDataset" >> beam.Map(commit_dataset, self.task)
        )


def write_bucket(part: Part, task: Task) -> Iterator[tuple[str, Written]]:
    """Read the images of one bucket, and write its shard of every set of so many buckets that has examples in it.

    Raises DataError if an example has no picture.
    """
    listed = directory.read_bucket(task.lists, part.lists, PLANNED_SCHEMA, check_digests=True)
    wanted = {
        name: rows
        for name, rows in rows_of_sets(listed).items()
        if name in task.names and task.facts[name]["buckets"] == part.count
    }
    if any(task.has_pictures(name) for name in wanted):
        pictures = directory.read_bucket(task.images, part.images, PICTURE_SCHEMA, check_digests=True)
        at = pc.index_in(listed["image_id"], pictures["image_id"]).combine_chunks()

    def with_pictures(group: pa.Array) -> pa.Table:
        """Return some of the examples with their pictures."""
        rows, indices = listed.take(group), at.take(group)
        if indices.null_count:
            image_id = rows.filter(pc.is_null(indices))["image_id"][0].as_py()
            raise DataError(
                f"{task.images}: no picture of image {image_id!r}, which a set needs; run ingest with --force"
            )
        return rows.append_column("image", pictures["image"].take(indices))

    def write(name: str, rows: pa.Array) -> StagedShard | None:
        prefix = "test" if name == TEST_SPLIT else "part" if name == PICTURES else "train"
        schema = _schema(name, task)
        # A row group at a time, since pictures are copied.
        groups = (rows.slice(start, ROW_GROUP_ROWS) for start in range(0, len(rows), ROW_GROUP_ROWS))
        tables = map(with_pictures, groups) if task.has_pictures(name) else iter([listed.take(rows)])
        exact = (table.select(schema.names).cast(schema) for table in tables)
        stem = directory.shard_stem(prefix, part.index, part.count)
        return write_shard(task.folder(name), stem, schema, exact)

    with ThreadPoolExecutor(os.cpu_count()) as threads:  # encoding and hashing leave the interpreter free
        for name, shard in zip(wanted, threads.map(write, wanted, wanted.values()), strict=True):
            advance(len(wanted[name]))
            yield count_written(name, Written(shard), name)


def _schema(name: str, task: Task) -> pa.Schema:
    if name == PICTURES:
        return PICTURE_SCHEMA
    return example_schema(task.class_names, pictures=not task.shared)


def publish_set(name_and_written: tuple[str, Iterable[Written]], task: Task) -> tuple[str, Manifest]:
    """Move the shards of a set into place, and return its manifest, which `commit_dataset` writes."""
    name, parts = name_and_written[0], list(name_and_written[1])
    for part in parts:
        check_libraries(part, task.about)
    shards = [part.shard for part in parts if part.shard]
    table = "image" if name == PICTURES else EXAMPLE.name
    return name, commit.publish(task.folder(name), table, shards, task.facts[name])


def commit_dataset(published: list[tuple[str, Manifest]], task: Task) -> None:
    """Replace the dataset: the manifests of its sets one right after the other, then its own; and then remove what is old."""
    facts, about = task.facts, task.about
    new = dict(published)
    before = {name: directory.valid_manifest(task.folder(name)) for name in new}
    for name, manifest in new.items():
        commit.swap(task.folder(name), manifest)
    manifests = {name: new.get(name) or directory.read_manifest(task.folder(name)) for name in sorted(facts)}
    splits = {}
    for name, manifest in manifests.items():
        splits[name] = {
            "rows": manifest.rows,
            "color": facts[name].get("color"),
            "noise_level": facts[name].get("noise_level"),
            "trial": facts[name].get("trial"),
            "manifest_sha256": hashlib.sha256(manifest.to_json().encode()).hexdigest(),
        }
        if lacking := facts[name].get("classes_without_clean"):
            splits[name]["classes_without_clean"] = lacking
        if listed := facts[name].get("fixed_set"):
            splits[name]["not_ingested"] = listed["not_ingested"]
    sets = {name: entry for name, entry in splits.items() if name != PICTURES}
    described = {name: manifests[name] for name in sets}
    texts = {
        CARD: card(about["name"], sets, facts, about),
        CROISSANT: croissant(about["name"], described, task.class_names),
    }
    for name, text in texts.items():
        files.write_text(files.join(task.dataset, name), text)
    digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}
    commit.swap(task.dataset, Manifest("dataset", 0, (), {**about, "splits": splits, "files": digests}))
    for name, manifest in new.items():
        commit.clean(task.folder(name), manifest, before[name])
    remove_dropped_sets(task.dataset)
    commit.commit(task.lists, EXAMPLE.name, task.staged, task.lists_about)
    files.write_text(*task.changes)


def is_whole(dataset: str) -> bool:
    """Return whether all sets and files that the manifest of a dataset names are there, with its digests and whole."""
    about, there = directory.read_manifest(dataset).about, files.entries(dataset)
    for name in (CARD, CROISSANT):
        path = files.join(dataset, name)
        if name not in there or files.sha256(path) != about.get("files", {}).get(name):
            return False
    for name, entry in about["splits"].items():
        folder = files.join(dataset, name)
        manifest = directory.valid_manifest(folder)
        if manifest is None or directory.size_problem(folder, manifest):
            return False
        if hashlib.sha256(manifest.to_json().encode()).hexdigest() != entry["manifest_sha256"]:
            return False
    return True


def remove_dropped_sets(dataset: str) -> None:
    """Remove the sets of earlier builds that the dataset does not have any more, and what interrupted ones have left."""
    kept, sets = directory.read_manifest(dataset).about["splits"], set_names(dataset)
    for name in commit.folders_of(dataset):
        folder = files.join(dataset, name)
        if name not in kept and (name in sets or not files.exists(files.join(folder, MANIFEST))):
            commit.remove_table(folder)


def set_names(dataset: str) -> list[str]:
    """Return the names of the sets in the folder of a dataset, those that builds have written."""
    found = []
    for name in files.folders_with(dataset, MANIFEST):
        manifest = directory.valid_manifest(files.join(dataset, name))
        table = (IMAGES if name == PICTURES else EXAMPLE).name
        if manifest and manifest.table == table and manifest.about.get("set_name", PICTURES) == name:
            found.append(name)
    return found
