"""Expected counts of one EM iteration: added over buckets, and stored for the next job."""

from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from pipeline.aggregate.methods.distributed_em import ExpectedCounts, add_counts
from pipeline.jobs.ordered_sums import AddInOrder
from pipeline.shards import commit, directory
from pipeline.shards.parquet import write_shard
from schemas.valid_vote import EXPECTED_COUNTS
from schemas.vote import ANSWERS

CLASSES = 2


class StoreExpectedCounts(beam.PTransform):
    """PCollection[(bucket, ExpectedCounts)] → their sum, written to a folder."""

    def __init__(self, folder: str, about: dict[str, Any]) -> None:
        super().__init__()
        self.folder, self.about = folder, about

    def expand(self, counts: beam.PCollection) -> beam.PCollection:
        """Add in the order of buckets, then write."""
        return (
            counts
            | "Add" >> AddInOrder(add_or_empty)
            | "Write" >> beam.Map(write_counts, self.folder, self.about)
        )


def add_or_empty(parts: list[ExpectedCounts]) -> ExpectedCounts:
    """Add the counts of any number of buckets."""
    empty = ExpectedCounts(np.empty(0, object), np.empty((0, len(ANSWERS), CLASSES)), np.zeros(CLASSES), 0)
    return add_counts([empty, *parts])


def write_counts(expected: ExpectedCounts, folder: str, about: dict[str, Any]) -> None:
    """Write expected counts as a table with one row per worker; the other sums go into the manifest."""
    cells = pa.FixedSizeListArray.from_arrays(pa.array(expected.counts.ravel()), len(ANSWERS) * CLASSES)
    table = pa.table([pa.array(expected.workers, pa.string()), cells], schema=EXPECTED_COUNTS.schema)
    shard = write_shard(folder, directory.shard_stem("part", 0, 1), EXPECTED_COUNTS.schema, [table])
    numbers = {
        "classes": expected.classes.tolist(),
        "items": expected.items,
        "log_likelihood": expected.log_likelihood,
    }
    commit.commit(folder, EXPECTED_COUNTS.name, [shard] if shard else [], {**about, **numbers})


def read_counts(folder: str) -> ExpectedCounts:
    """Read what `write_counts` wrote, equal to the last bit."""
    table = directory.read_table(folder, EXPECTED_COUNTS).combine_chunks()
    about = directory.read_manifest(folder).about
    cells = np.asarray(table["counts"].combine_chunks().flatten()).reshape(-1, len(ANSWERS), CLASSES)
    workers = table["worker_id"].to_numpy()
    return ExpectedCounts(workers, cells, np.array(about["classes"]), about["items"], about["log_likelihood"])
