"""Measure the precision of the image search: compare the verdicts with the retrieval list, bucket by bucket."""

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


class MeasureRetrievalPrecision(beam.PTransform):
    """Verdicts and shards of the retrieval table, both by bucket → ("retrieval_precision", Written).

    retrievals: folder of the retrieval table. folder: that of the precision table.
    """

    def __init__(self, retrievals: str, folder: str) -> None:
        super().__init__()
        self.retrievals, self.folder = retrievals, folder

    def expand(self, found: Any) -> beam.PCollection:
        """Count by bucket, also in those without votes, add up, write."""
        return (
            found
            | "GatherBucket" >> beam.CoGroupByKey()
            | "CountBucket" >> beam.FlatMap(count_bucket, self.retrievals)
            | "AddUp" >> beam.CombineGlobally(AddCounts())
            | "Write" >> beam.Map(_write, self.folder)
        )


def count_bucket(element: tuple[int, dict[str, Iterable[Any]]], retrievals: str) -> Iterator[pd.DataFrame]:
    """Count the verdicts of one bucket by class, method and band of ranks."""
    _, found = element
    columns = [*QUESTION, "source", "method", "rank"]
    schema = pa.schema([RETRIEVAL.schema.field(name) for name in columns])
    asked = directory.read_bucket(retrievals, chain.from_iterable(found["shards"]), schema)
    web = asked.filter(pc.equal(asked["source"], "web"))
    empty = VERDICT.schema.empty_table().select([*QUESTION, "verdict"])
    verdicts = pa.concat_tables([empty, *(unpack(part).cast(empty.schema) for part in found["judged"])])
    if web.num_rows:
        yield precision_counts(web.to_pandas(), verdicts.to_pandas())


def _write(sums: pd.DataFrame | None, folder: str) -> tuple[str, Written]:
    table = precision_table([] if sums is None else [sums])
    return "retrieval_precision", Written(
        write_shard(folder, directory.shard_stem("part", 0, 1), RETRIEVAL_PRECISION.schema, [table])
    )
