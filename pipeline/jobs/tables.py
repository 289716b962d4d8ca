"""The small transforms that all jobs share: shards become a committed table, batches go to their bucket."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import pyarrow as pa

from pipeline.running import metrics
from pipeline.shards import directory
from schemas.manifest import Shard


@dataclass(frozen=True)
class Written:
    """What one task has written of one table: a shard, unless it had no rows, and what it counted.

    content: digest of what matters in the shard, where its bytes differ from run to run.
    """

    shard: Shard | None = None
    counts: Counter[str] = field(default_factory=Counter)
    content: str = ""


def pack(rows: pa.Table) -> bytes:
    """Rows on their way through a shuffle, compressed: votes repeat ids, names, and nearly their lines."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(rows)
    return sink.getvalue().to_pybytes()


def unpack(data: bytes) -> pa.Table:
    """What `pack` has packed."""
    return pa.ipc.open_stream(data).read_all()


class CommitTable(beam.PTransform):
    """PCollection[Written] → a directory's manifest, written once, when all its shards are there.

    The counts of the tasks are summed into `about["counts"]`; digests of their contents, if they give any, are joined
    into `about["content"]`.
    """

    def __init__(self, folder: str, table: str, about: dict[str, Any]) -> None:
        super().__init__()
        self.folder, self.table, self.about = folder, table, about

    def expand(self, written: beam.PCollection) -> beam.PCollection:
        """Gather, then write."""
        return (
            written
            | "Count" >> beam.Map(count_written, self.table)
            | "Gather" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
            | "WriteManifest" >> beam.Map(_commit, self.folder, self.table, self.about)
        )


def count_written(written: Written, table: str) -> Written:
    """Count the shard of a task and what the task has counted, as metrics of the job."""
    if written.shard:
        metrics.count(f"{table}.shards")
        metrics.count(f"{table}.rows", written.shard.rows)
        metrics.count(f"{table}.bytes", written.shard.bytes)
    for name, amount in written.counts.items():
        metrics.count(f"{table}.{name}", amount)
    return written


def _commit(written: Iterable[Written], folder: str, table: str, about: dict[str, Any]) -> int:
    counts: Counter[str] = Counter()
    shards = []
    parts = list(written)
    for part in parts:
        counts.update(part.counts)
        if part.shard:
            shards.append(part.shard)
    about = {**about, "counts": dict(sorted(counts.items()))}
    if any(part.content for part in parts):
        about["content"] = hashlib.sha256(
            "".join(sorted(part.content for part in parts)).encode()
        ).hexdigest()
    return directory.commit(folder, table, shards, about).rows
