"""The sums that one pass of Dawid-Skene hands to the next: added up over buckets, and kept in a folder."""

from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from pipeline.aggregate.methods.distributed_em import ExpectedCounts, add_counts
from pipeline.shards import commit, directory
from pipeline.shards.parquet import write_shard
from schemas.valid_vote import EXPECTED_COUNTS
from schemas.vote import ANSWERS

TOGETHER = 32  # buckets whose sums are added up in one task
CLASSES = 2


class AddUp(beam.PTransform):
    """(bucket, sums) → a folder with the sums of all, added up in the order of buckets."""

    def __init__(self, folder: str, about: dict[str, Any]) -> None:
        super().__init__()
        self.folder, self.about = folder, about

    def expand(self, sums: beam.PCollection) -> beam.PCollection:
        """Some buckets, and then the rest: a thousand buckets' sums need not be in memory together."""
        return (
            sums
            | "Some" >> beam.Map(lambda part: (part[0] // TOGETHER, part))
            | "GatherSome" >> beam.GroupByKey()
            | "AddSome" >> beam.MapTuple(lambda _, parts: add_counts(parts))
            | "GatherAll" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
            | "Write" >> beam.Map(write_sums, self.folder, self.about)
        )


def write_sums(parts: list[tuple[int, ExpectedCounts]], folder: str, about: dict[str, Any]) -> None:
    """Write the sums of all parts, of which there may be none."""
    none = ExpectedCounts(np.empty(0, object), np.empty((0, len(ANSWERS), CLASSES)), np.zeros(CLASSES), 0)
    _, sums = add_counts([(-1, none), *parts])
    counts = pa.FixedSizeListArray.from_arrays(pa.array(sums.counts.ravel()), len(ANSWERS) * CLASSES)
    table = pa.table([pa.array(sums.workers, pa.string()), counts], schema=EXPECTED_COUNTS.schema)
    shard = write_shard(folder, directory.shard_stem("part", 0, 1), EXPECTED_COUNTS.schema, [table])
    numbers = {"classes": sums.classes.tolist(), "items": sums.items, "evidence": sums.evidence}
    commit.commit(folder, EXPECTED_COUNTS.name, [shard] if shard else [], {**about, **numbers})


def read_sums(folder: str) -> ExpectedCounts:
    """What `write_sums` has written, to the bit."""
    table = directory.read_table(folder, EXPECTED_COUNTS).combine_chunks()
    about = directory.read_manifest(folder).about
    counts = np.asarray(table["counts"].combine_chunks().flatten()).reshape(-1, len(ANSWERS), CLASSES)
    workers = table["worker_id"].to_numpy()
    return ExpectedCounts(workers, counts, np.array(about["classes"]), about["items"], about["evidence"])
