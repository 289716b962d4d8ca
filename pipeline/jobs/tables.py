"""Transforms that all jobs share: pack rows for a shuffle, and commit tables."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import pandas as pd
import pyarrow as pa

from common.errors import DataError
from pipeline.running import metrics
from pipeline.running.stage import library_versions
from pipeline.shards import commit, directory
from pipeline.shards.parquet import StagedShard
from schemas.manifest import Manifest

_FRAMES = 64  # that are added up at once


@dataclass(frozen=True)
class Written:
    """What one task has written of one table: a staged shard, unless it had no rows, and what it counted.

    content: digest of what matters in the shard, where its bytes differ from run to run. libraries: the versions that
    the task ran with.
    """

    shard: StagedShard | None = None
    counts: Counter[str] = field(default_factory=Counter)
    content: str = ""
    libraries: tuple[tuple[str, str], ...] = field(default_factory=lambda: tuple(library_versions().items()))


@dataclass(frozen=True)
class Commit:
    """Tables that are committed together.

    tables: name → (folder, name of the table's schema). about: what all manifests say. finish: called with the manifests
    once they are written; it checks them and writes reports, and may run more than once.
    """

    tables: Mapping[str, tuple[str, str]]
    about: Mapping[str, Any]
    finish: Callable[[dict[str, Manifest]], object] = lambda _: None


def pack(rows: pa.Table) -> bytes:
    """Compress rows for a shuffle, and count their bytes as a metric of the job."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(rows)
    data = sink.getvalue().to_pybytes()
    metrics.count("shuffled_rows", rows.num_rows)
    metrics.count("shuffled_bytes", len(data))
    return data


def unpack(data: bytes) -> pa.Table:
    """What `pack` has packed."""
    return pa.ipc.open_stream(data).read_all()


class AddCounts(beam.CombineFn):
    """Add up integer counts in data frames (or series) with equal levels of their index; None where there are none.

    Sums of integers do not depend on the order in which an engine adds them. Sums of floats do, so they are gathered
    and added up in a fixed order instead.
    """

    def create_accumulator(self) -> list[Any]:
        """Return no frames."""
        return []

    def add_input(self, accumulator: list[Any], counts: Any) -> list[Any]:
        """Hold a frame, and add up when there are many."""
        accumulator.append(counts)
        return accumulator if len(accumulator) < _FRAMES else self.compact(accumulator)

    def merge_accumulators(self, accumulators: Iterable[list[Any]]) -> list[Any]:
        """Hold the frames of all."""
        return self.compact([counts for accumulator in accumulators for counts in accumulator])

    def compact(self, accumulator: list[Any]) -> list[Any]:
        """Add up to a single frame."""
        parts = [counts for counts in accumulator if len(counts)]
        if len(parts) < 2:
            return parts
        return [pd.concat(parts).groupby(level=list(parts[0].index.names)).sum()]

    def extract_output(self, accumulator: list[Any]) -> Any:
        """Return the sum."""
        found = self.compact(accumulator)
        return found[0] if found else None


class CommitTables(beam.PTransform):
    """PCollection[(name of a table, Written)] → the manifests of all tables, written by one task when all shards are there.

    The counts of the tasks are summed into `about["counts"]`; digests of their contents, if they give any, are joined
    into `about["content"]`.
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
            | "Gather" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
            | "Commit" >> beam.Map(commit_tables, self.commit)
        )


def count_written(name: str, written: Written, prefix: str) -> tuple[str, Written]:
    """Count the shard of a task and what the task has counted, as metrics of the job that begin with `prefix`."""
    if written.shard:
        metrics.count(f"{prefix}.shards")
        metrics.count(f"{prefix}.rows", written.shard.shard.rows)
        metrics.count(f"{prefix}.bytes", written.shard.shard.bytes)
    for key, amount in written.counts.items():
        metrics.count(f"{prefix}.{key}", amount)
    return name, written


def commit_tables(gathered: Iterable[tuple[str, Written]], work: Commit) -> None:
    """Publish the shards of all tables, then swap the manifests one right after the other, and clean up.

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
    """Raise DataError if a task ran with other versions than those that the job was submitted with."""
    here = about.get("libraries", {})
    for name, version in written.libraries:
        if name in here and here[name] != version:
            raise DataError(
                f"a worker has {name} {version}, and the job was submitted with {name} {here[name]}: the bytes of tables "
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
