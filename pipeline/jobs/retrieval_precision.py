"""Measure retrieval precision: compare the verdicts with the retrieval list, bucket by bucket."""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import apache_beam as beam
import pandas as pd
import pyarrow as pa
from pyarrow import compute as pc

from pipeline.aggregate.retrieval_precision import precision_counts, precision_table
from pipeline.aggregate.vote_columns import QUESTION
from pipeline.jobs.tables import AddCounts, Written, unpack
from pipeline.shards import directory
from pipeline.shards.parquet import write_shard
from schemas.retrieval import RETRIEVAL
from schemas.retrieval_precision import RETRIEVAL_PRECISION
from schemas.verdict import VERDICT

_RETRIEVAL_COLUMNS = pa.schema(
    [RETRIEVAL.schema.field(name) for name in (*QUESTION, "source", "method", "rank")]
)


class MeasureRetrievalPrecision(beam.PTransform):
    """{"verdicts": packed verdicts, "shards": shards of the retrieval table}, both by bucket → ("retrieval_precision", Written).

    retrievals: folder of the retrieval table. folder: folder of the table to write.
    """

    def __init__(self, retrievals: str, folder: str) -> None:
        super().__init__()
        self.retrievals, self.folder = retrievals, folder

    def expand(self, inputs: Any) -> beam.PCollection:
        """Count by bucket, including buckets without votes, add the counts, and write."""
        return (
            inputs
            | "GatherBucket" >> beam.CoGroupByKey()
            | "CountBucket" >> beam.FlatMap(count_bucket, self.retrievals)
            | "AddCounts" >> beam.CombineGlobally(AddCounts())
            | "Write" >> beam.Map(_write, self.folder)
        )


def count_bucket(element: tuple[int, dict[str, Iterable[Any]]], retrievals: str) -> Iterator[pd.DataFrame]:
    """Count the verdicts of one bucket by class, method and band of ranks."""
    _, groups = element
    asked = directory.read_bucket(retrievals, chain.from_iterable(groups["shards"]), _RETRIEVAL_COLUMNS)
    web = asked.filter(pc.equal(asked["source"], "web"))
    empty = VERDICT.schema.empty_table().select([*QUESTION, "verdict"])
    verdicts = pa.concat_tables([empty, *(unpack(part).cast(empty.schema) for part in groups["verdicts"])])
    if web.num_rows:
        yield precision_counts(web.to_pandas(), verdicts.to_pandas())


def _write(counts: pd.DataFrame | None, folder: str) -> tuple[str, Written]:
    table = precision_table([] if counts is None else [counts])
    return "retrieval_precision", Written(
        write_shard(folder, directory.shard_stem("part", 0, 1), RETRIEVAL_PRECISION.schema, [table])
    )
