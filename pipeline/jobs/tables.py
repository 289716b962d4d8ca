"""The small transforms that all jobs share: shards become a committed table, batches go to their bucket."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from pipeline.keyed_hash import bucket, place
from pipeline.running import metrics
from pipeline.shards import directory
from schemas.manifest import Shard


@dataclass(frozen=True)
class Written:
    """What one task has written of one table: a shard, unless it had no rows, and what it counted."""

    shard: Shard | None = None
    counts: Counter[str] = field(default_factory=Counter)


def by_bucket(
    rows: pa.Table, buckets: int, places: np.ndarray | None = None
) -> Iterator[tuple[int, pa.Table]]:
    """Cut rows by the bucket of their image_id; the order within a bucket stays.

    places: uint64 (rows,), where the caller has them already.
    """
    if places is None:
        places = place(rows["image_id"].to_pylist())
    buckets_of_rows = bucket(places, buckets)
    order = np.argsort(buckets_of_rows, kind="stable")
    found, starts = np.unique(buckets_of_rows[order], return_index=True)
    rows = rows.combine_chunks()  # taking from many chunks is slow
    for index, part in zip(found, np.split(order, starts[1:]), strict=False):
        yield int(index), rows.take(pa.array(part))


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

    The counts of the tasks are summed into `about["counts"]`.
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
    for part in written:
        counts.update(part.counts)
        if part.shard:
            shards.append(part.shard)
    about = {**about, "counts": dict(sorted(counts.items()))}
    return directory.commit(folder, table, shards, about).rows
