"""The small transforms that all jobs share: shards become a committed table, batches go to their bucket."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from pipeline.jobs import metrics
from pipeline.keyed_hash import bucket, place
from pipeline.shards import directory
from schemas.manifest import Shard

Rows = pa.Table


@dataclass(frozen=True)
class Written:
    """What one task has written of one table: a shard, unless it had no rows, and what it counted."""

    shard: Shard | None = None
    counts: Counter[str] = field(default_factory=Counter)


def by_bucket(rows: pa.Table, buckets: int) -> Iterator[tuple[int, pa.Table]]:
    """Cut rows by the bucket of their image_id; the order within a bucket stays."""
    buckets_of_rows = bucket(place(rows["image_id"].to_pylist()), buckets)
    for index in np.unique(buckets_of_rows):
        yield int(index), rows.filter(pa.array(buckets_of_rows == index))


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
