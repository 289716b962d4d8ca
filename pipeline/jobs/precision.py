"""Holds the verdicts against the search hits, bucket by bucket."""

from collections.abc import Iterable, Iterator

import apache_beam as beam
import pandas as pd
from pyarrow import compute as pc
from pyarrow import parquet

from pipeline import files
from pipeline.jobs.tables import Written
from pipeline.labels.columns import QUESTION
from pipeline.labels.precision import precision_sums, precision_table
from pipeline.shards import directory
from pipeline.shards.parquet import write_shard
from schemas.precision import PRECISION
from schemas.verdict import VERDICT


class MeasurePrecision(beam.PTransform):
    """What was written of the verdicts → what was written of the precision table."""

    def __init__(self, retrievals: str, places: dict[str, str], buckets: int) -> None:
        super().__init__()
        self.retrievals, self.places, self.buckets = retrievals, places, buckets

    def expand(self, verdicts: beam.PCollection) -> beam.PCollection:
        """All buckets, also those without votes, once all verdicts are there."""
        sums = beam.ParDo(
            SumBucket(self.retrievals, self.places["verdicts"], self.buckets), beam.pvalue.AsIter(verdicts)
        )
        return (
            verdicts.pipeline
            | "Buckets" >> beam.Create(range(self.buckets))
            | "Spread" >> beam.Reshuffle()
            | "SumBucket" >> sums
            | "Gather" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
            | "Write" >> beam.Map(_write, self.places["precision"])
        )


class SumBucket(beam.DoFn):
    """Verdicts by class, method and band of ranks of one bucket."""

    def __init__(self, retrievals: str, verdicts: str, buckets: int) -> None:
        self.retrievals, self.verdicts, self.buckets = retrievals, verdicts, buckets

    def setup(self) -> None:
        """Read once what all buckets look up."""
        self.manifest = directory.read_manifest(self.retrievals)

    def process(self, index: int, verdicts: Iterable[Written]) -> Iterator[pd.DataFrame]:
        """A few columns, no votes and no pictures."""
        columns = [*QUESTION, "source", "method", "rank"]
        hits = directory.read_bucket(self.retrievals, index, self.buckets, columns, self.manifest)
        web = [hit.filter(pc.equal(hit["source"], "web")).to_pandas() for hit in hits]
        name = directory.shard_name("part", index, self.buckets)
        found = VERDICT.schema.empty_table().select([*QUESTION, "verdict"])
        if any(written.shard and written.shard.file == name for written in verdicts):
            with files.open_read(files.join(self.verdicts, name)) as file:
                found = parquet.read_table(file, columns=found.column_names)
        if web:
            yield precision_sums(pd.concat(web), found.to_pandas())


def _write(sums: Iterable[pd.DataFrame], folder: str) -> Written:
    name = directory.shard_name("part", 0, 1)
    return Written(write_shard(folder, name, PRECISION.schema, [precision_table(sums)]))
