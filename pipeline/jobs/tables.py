"""Transforms shared by all jobs: pack rows for a shuffle, add up counts, commit tables."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import pandas as pd
import pyarrow as pa

from common.errors import DataError
from pipeline.jobs.gather import GatherAll
from pipeline.running import metrics
from pipeline.running.stage import library_versions
from pipeline.shards import commit, directory, packing
from pipeline.shards.parquet import StagedShard
from schemas.manifest import Manifest

_FRAMES = 64  # data frames added up at once


@dataclass(frozen=True)
class Written:
    """The output of one task for one table.

    shard: the staged shard, None if there are no rows. counts: metrics of the task. content: digest of the part of the
    shard that does not differ between runs, empty if that is all of it. libraries: versions of the libraries of the task.
    """

    shard: StagedShard | None = None
    counts: Counter[str] = field(default_factory=Counter)
    content: str = ""
    libraries: tuple[tuple[str, str], ...] = field(default_factory=lambda: tuple(library_versions().items()))


@dataclass(frozen=True)
class Commit:
    """Tables that are committed together.

    tables: name → (folder, name of the schema). about: values for all manifests. finish: called with the manifests after
    they are written, to check them and write reports; it may run more than once.
    """

    tables: Mapping[str, tuple[str, str]]
    about: Mapping[str, Any]
    finish: Callable[[dict[str, Manifest]], object] = lambda _: None


def pack(rows: pa.Table) -> bytes:
    """Serialize rows for a shuffle, and count rows and bytes as metrics of the job."""
    data = packing.pack(rows)
    metrics.count("shuffled_rows", rows.num_rows)
    metrics.count("shuffled_bytes", len(data))
    return data


unpack = packing.unpack


class AddCounts(beam.CombineFn):
    """Add up integer counts in data frames or series with equal index levels; the result without any is None.

    Only sums of integers do not depend on the order of addition.
    """

    def create_accumulator(self) -> list[Any]:
        """Return no frames."""
        return []

    def add_input(self, accumulator: list[Any], counts: Any) -> list[Any]:
        """Keep a frame, and add up when there are many."""
        accumulator.append(counts)
        return accumulator if len(accumulator) < _FRAMES else self.compact(accumulator)

    def merge_accumulators(self, accumulators: Iterable[list[Any]]) -> list[Any]:
        """Keep the frames of all accumulators."""
        return self.compact([counts for accumulator in accumulators for counts in accumulator])

    def compact(self, accumulator: list[Any]) -> list[Any]:
        """Add up to a single frame."""
        parts = [counts for counts in accumulator if len(counts)]
        if len(parts) < 2:
            return parts
        return [pd.concat(parts).groupby(level=list(parts[0].index.names)).sum()]

    def extract_output(self, accumulator: list[Any]) -> Any:
        """Return the sum."""
        sums = self.compact(accumulator)
        return sums[0] if sums else None


class CommitTables(beam.PTransform):
    """PCollection[(name of a table, Written)] → the manifests of all tables, written by one task after all shards.

    `about["counts"]` is the sum of the counts of the tasks; `about["content"]` the digest of their content digests, if
    there are any.
    """

    def __init__(self, commit: Commit) -> None:
        super().__init__()
        self.commit = commit

    def expand(self, written: beam.PCollection) -> beam.PCollection:
        """Gather, then commit."""
        prefixes = {name: table for name, (_, table) in self.commit.tables.items()}
        return (
            written
            | "Count" >> beam.MapTuple(lambda name, written: count_written(name, written, prefixes[name]))
            | "Commit" >> GatherAll(commit_tables, self.commit)
        )


def count_written(name: str, written: Written, prefix: str) -> tuple[str, Written]:
    """Add the shard and the counts of a task to the metrics of the job, whose names begin with `prefix`."""
    if written.shard:
        metrics.count(f"{prefix}.shards")
        metrics.count(f"{prefix}.rows", written.shard.shard.rows)
        metrics.count(f"{prefix}.bytes", written.shard.shard.bytes)
    for key, amount in written.counts.items():
        metrics.count(f"{prefix}.{key}", amount)
    return name, written


def commit_tables(gathered: Iterable[tuple[str, Written]], work: Commit) -> None:
    """Publish the shards of all tables, then replace the manifests one after the other, and clean up.

    Raises DataError if a shard is missing or a task ran with other libraries, and what `work.finish` raises.
    """
    parts: dict[str, list[Written]] = {name: [] for name in work.tables}
    for name, written in gathered:
        parts[name].append(written)
        check_libraries(written, work.about)
    manifests = {
        name: commit.publish(
            folder, table, [part.shard for part in parts[name] if part.shard], _about(parts[name], work.about)
        )
        for name, (folder, table) in work.tables.items()
    }
    folders = {name: folder for name, (folder, _) in work.tables.items()}
    before = {name: directory.valid_manifest(folder) for name, folder in folders.items()}
    for name, folder in folders.items():
        commit.swap(folder, manifests[name])
    for name, folder in folders.items():
        commit.clean(folder, manifests[name], before[name])
    work.finish(manifests)


def check_libraries(written: Written, about: Mapping[str, Any]) -> None:
    """Raise DataError if a task ran with other library versions than the submitting process."""
    expected = about.get("libraries", {})
    for name, version in written.libraries:
        if name in expected and expected[name] != version:
            raise DataError(
                f"a worker has {name} {version}, and the job was submitted with {name} {expected[name]}: the bytes of tables "
                "depend on the version; install the locked versions on both (docs/how-to/dataflow.md)"
            )


def _about(parts: Iterable[Written], about: Mapping[str, Any]) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(part.counts)
    found = {**about, "counts": dict(sorted(counts.items()))}
    if contents := sorted(part.content for part in parts if part.content):
        found["content"] = hashlib.sha256("".join(contents).encode()).hexdigest()
    return found
