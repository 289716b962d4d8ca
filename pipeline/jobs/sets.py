"""Write the planned sets: lists of examples and images → shards, manifests, card, and the manifest of the dataset.

A task reads one bucket of images once and writes its shard of every set: images cross no shuffle, and twenty training
sets do not read the images twenty times.
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
from pipeline.jobs.gather import GatherAll
from pipeline.jobs.tables import Written, check_libraries, count_written
from pipeline.running.progress import advance
from pipeline.shards import commit, directory
from pipeline.shards.card import dataset_card
from pipeline.shards.croissant import croissant_json
from pipeline.shards.parquet import ROW_GROUP_ROWS, StagedShard, write_shard
from pipeline.shards.plan import PLANNED_SCHEMA, rows_of_sets
from schemas.example import EXAMPLE, SHARED_IMAGE_SCHEMA, SHARED_IMAGES, TEST_SET, example_schema
from schemas.image import IMAGES
from schemas.manifest import CARD, CROISSANT, MANIFEST, Manifest, Shard


@dataclass(frozen=True)
class BucketTask:
    """One task: bucket `index` of `count`, with the shards of its lists of examples and of its images."""

    index: int
    count: int
    lists: list[Shard]
    images: list[Shard]


@dataclass(frozen=True)
class DatasetJob:
    """What all tasks of the job share: folders of lists, images and sets, and the contents of manifests.

    lists: folder of the lists of examples; staged: their shards, which are committed with the dataset; lists_about: the
    contents of their manifest. names: the sets to write. shared: whether the dataset keeps all images in one table.
    facts: contents of the manifest of each set of the dataset; about: those of the dataset. changes: path and text of
    the report on changed sets.
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

    def tasks(self) -> list[BucketTask]:
        """Return the tasks. Lists without images have fewer and longer shards."""
        image_shards = directory.read_manifest(self.images).shards
        tasks = []
        for count in sorted({self.facts[name]["buckets"] for name in self.names}):
            by_name = {each.shard.file: each.before_commit() for each in self.staged}
            lists = directory.by_bucket([each.shard for each in self.staged], count)
            names = [name for name in self.names if self.facts[name]["buckets"] == count]
            with_images = any(self.has_images(name) for name in names)
            images = directory.by_bucket(image_shards, count) if with_images else {}
            tasks += [
                BucketTask(index, count, [by_name[shard.file] for shard in shards], images.get(index, []))
                for index, shards in lists.items()
            ]
        return tasks

    def has_images(self, name: str) -> bool:
        """Return whether the shards of a set hold images."""
        return name == SHARED_IMAGES or not self.shared

    def folder(self, name: str) -> str:
        """Return the folder of a set."""
        return files.join(self.dataset, name)


class WriteSets(beam.PTransform):
    """Lists of examples and images → shards, manifests, card, and last the manifest of the dataset."""

    def __init__(self, job: DatasetJob) -> None:
        super().__init__()
        self.job = job

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Buckets → a shard of each set → the manifest of each set → the dataset."""
        written = (
            pipeline
            | "Buckets" >> beam.Create(self.job.tasks())
            | "WriteBucket" >> beam.FlatMap(write_bucket, self.job)
        )
        # Sets without a shard are committed, too.
        empty = [(name, Written()) for name in sorted(self.job.names)]
        names = pipeline | "Sets" >> beam.Create(empty, reshuffle=False)
        return (
            (written, names)
            | "Written" >> beam.Flatten()
            | "GatherSet" >> beam.GroupByKey()
            | "PublishSet" >> beam.Map(publish_set, self.job)
            | "CommitDataset" >> GatherAll(commit_dataset, self.job)
        )


def write_bucket(task: BucketTask, job: DatasetJob) -> Iterator[tuple[str, Written]]:
    """Read the images of one bucket, and write its shard of every set that has as many buckets as the task.

    Raises DataError if an example has no image.
    """
    planned = directory.read_bucket(job.lists, task.lists, PLANNED_SCHEMA, check_digests=True)
    wanted = {
        name: rows
        for name, rows in rows_of_sets(planned).items()
        if name in job.names and job.facts[name]["buckets"] == task.count
    }
    if any(job.has_images(name) for name in wanted):
        images = directory.read_bucket(job.images, task.images, SHARED_IMAGE_SCHEMA, check_digests=True)
        image_rows = pc.index_in(planned["image_id"], images["image_id"]).combine_chunks()

    def with_images(group: pa.Array) -> pa.Table:
        """Return some of the examples with their images."""
        rows, indices = planned.take(group), image_rows.take(group)
        if indices.null_count:
            image_id = rows.filter(pc.is_null(indices))["image_id"][0].as_py()
            raise DataError(f"{job.images}: image {image_id!r} of a set is missing; run ingest with --force")
        return rows.append_column("image", images["image"].take(indices))

    def write(name: str, rows: pa.Array) -> StagedShard | None:
        prefix = "test" if name == TEST_SET else "part" if name == SHARED_IMAGES else "train"
        schema = _schema(name, job)
        # One row group at a time, since images are copied.
        groups = (rows.slice(start, ROW_GROUP_ROWS) for start in range(0, len(rows), ROW_GROUP_ROWS))
        tables = map(with_images, groups) if job.has_images(name) else iter([planned.take(rows)])
        exact = (table.select(schema.names).cast(schema) for table in tables)
        stem = directory.shard_stem(prefix, task.index, task.count)
        return write_shard(job.folder(name), stem, schema, exact)

    with ThreadPoolExecutor(os.cpu_count()) as threads:  # encoding and hashing leave the interpreter free
        for name, shard in zip(wanted, threads.map(write, wanted, wanted.values()), strict=True):
            advance(len(wanted[name]))
            yield count_written(name, Written(shard), name)


def _schema(name: str, job: DatasetJob) -> pa.Schema:
    if name == SHARED_IMAGES:
        return SHARED_IMAGE_SCHEMA
    return example_schema(job.class_names, with_images=not job.shared)


def publish_set(name_and_written: tuple[str, Iterable[Written]], job: DatasetJob) -> tuple[str, Manifest]:
    """Move the shards of a set to their final names, and return its manifest, which `commit_dataset` writes."""
    name, parts = name_and_written[0], list(name_and_written[1])
    for part in parts:
        check_libraries(part, job.about)
    shards = [part.shard for part in parts if part.shard]
    table = "image" if name == SHARED_IMAGES else EXAMPLE.name
    return name, commit.publish(job.folder(name), table, shards, job.facts[name])


def commit_dataset(published: list[tuple[str, Manifest]], job: DatasetJob) -> None:
    """Replace the dataset: swap the manifests of its sets and of the lists, then its own, and then remove the old shards.

    The manifest of the dataset comes after everything that has to fit it. Until then the stage is not up to date, and the
    next build repeats what is missing. After it, only old files are left, which the next build removes, too.
    """
    # Before the sets, since a build that continues finds fewer changed sets. It takes over this report.
    files.write_text(*job.changes)
    new = dict(published)
    before = {name: directory.valid_manifest(job.folder(name)) for name in new}
    for name, manifest in new.items():
        commit.swap(job.folder(name), manifest)
    manifests = {
        name: new.get(name) or directory.read_manifest(job.folder(name)) for name in sorted(job.facts)
    }
    root = _write_card(manifests, job)
    # After the sets: an earlier task of this job that runs again still finds the staged lists.
    commit.commit(job.lists, EXAMPLE.name, job.staged, job.lists_about)
    commit.swap(job.dataset, root)
    for name, manifest in new.items():
        commit.clean(job.folder(name), manifest, before[name])
    remove_dropped_sets(job.dataset)


def _write_card(manifests: dict[str, Manifest], job: DatasetJob) -> Manifest:
    """Write the card and the Croissant metadata of the dataset, and return its manifest."""
    facts, about = job.facts, job.about
    entries = {}
    for name, manifest in manifests.items():
        entries[name] = {
            "rows": manifest.rows,
            "color": facts[name].get("color"),
            "noise_level": facts[name].get("noise_level"),
            "trial": facts[name].get("trial"),
            "manifest_sha256": manifest.sha256,
        }
        if lacking := facts[name].get("classes_without_clean"):
            entries[name]["classes_without_clean"] = lacking
        if estimated := facts[name].get("estimated_noise"):
            entries[name]["estimated_noise"] = {key: estimated[key] for key in ("value", "low", "high")}
        if measured := facts[name].get("fixed_set"):
            entries[name]["not_ingested"] = measured["not_ingested"]
    texts = {
        CARD: dataset_card(about["name"], entries, facts, about),
        CROISSANT: croissant_json(about["name"], manifests, job.class_names),
    }
    for name, text in texts.items():
        files.write_text(files.join(job.dataset, name), text)
    digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}
    return Manifest("dataset", 0, (), {**about, "sets": entries, "files": digests})


def is_whole(dataset: str) -> bool:
    """Return whether a dataset has all sets and files of its manifest, complete and with the digests that it states."""
    about, entries = directory.read_manifest(dataset).about, files.entries(dataset)
    for name in (CARD, CROISSANT):
        path = files.join(dataset, name)
        if name not in entries or files.sha256(path) != about.get("files", {}).get(name):
            return False
    for name, entry in about["sets"].items():
        folder = files.join(dataset, name)
        manifest = directory.valid_manifest(folder)
        if manifest is None or directory.size_problem(folder, manifest):
            return False
        if manifest.sha256 != entry["manifest_sha256"]:
            return False
    return True


def remove_leftovers(dataset: str) -> None:
    """Remove what an interrupted commit left in a whole dataset: half-written files, dropped sets, old shards of the others."""
    files.remove_temporaries(dataset)
    remove_dropped_sets(dataset)
    for name in directory.read_manifest(dataset).about["sets"]:
        commit.remove_leftovers(files.join(dataset, name))


def remove_dropped_sets(dataset: str) -> None:
    """Remove sets that the dataset no longer has, and files of interrupted builds."""
    kept, sets = directory.read_manifest(dataset).about["sets"], set_names(dataset)
    for name in commit.folders_of(dataset):
        folder = files.join(dataset, name)
        if name not in kept and (name in sets or not files.exists(files.join(folder, MANIFEST))):
            commit.remove_table(folder)


def set_names(dataset: str) -> list[str]:
    """Return the names of the sets in the folder of a dataset that builds have written."""
    names = []
    for name in files.folders_with(dataset, MANIFEST):
        manifest = directory.valid_manifest(files.join(dataset, name))
        table = (IMAGES if name == SHARED_IMAGES else EXAMPLE).name
        if manifest and manifest.table == table and manifest.about.get("set_name", SHARED_IMAGES) == name:
            names.append(name)
    return names
