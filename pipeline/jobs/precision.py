"""Holds the verdicts against the search hits: the last step of the label stage."""

from typing import Any

import pandas as pd
from pyarrow import compute as pc

from pipeline.labels.majority import QUESTION
from pipeline.labels.precision import precision_sums, precision_table
from pipeline.shards import directory
from pipeline.shards.parquet import write_shard
from schemas.precision import PRECISION
from schemas.verdict import VERDICT


def write_precision(retrievals: str, places: dict[str, str], buckets: int, about: dict[str, Any]) -> None:
    """Write the precision table, bucket by bucket in this process: a few columns, no votes and no pictures."""
    sums = []
    for index in range(buckets):
        hits = directory.read_bucket(retrievals, index, buckets, [*QUESTION, "source", "method", "rank"])
        found = directory.read_bucket(places["verdicts"], index, buckets, [*QUESTION, "verdict"])
        web = [hit.filter(pc.equal(hit["source"], "web")).to_pandas() for hit in hits]
        verdicts = [VERDICT.schema.empty_table().to_pandas(), *(table.to_pandas() for table in found)]
        if web:
            sums.append(precision_sums(pd.concat(web), pd.concat(verdicts)))
    shard = write_shard(
        places["precision"], directory.shard_name("part", 0, 1), PRECISION.schema, [precision_table(sums)]
    )
    directory.commit(places["precision"], PRECISION.name, [shard] if shard else [], about)
