"""Retrieval precision, from counts of verdicts that add up over buckets."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.aggregate.vote_columns import QUESTION
from pipeline.aggregate.wilson import wilson_interval
from schemas.retrieval_precision import RETRIEVAL_PRECISION
from schemas.verdict import VERDICTS

BANDS = (0, 10, 20, 50, 100, 200, 500, 1000)  # first rank of each band; the last band has no end
NO_RANK = -1  # band of images without a rank
KEY = ["class_name", "method", "band"]


def precision_counts(questions: pd.DataFrame, verdicts: pd.DataFrame) -> pd.DataFrame:
    """Count verdicts by class, search method and band of ranks.

    questions: image_id, class_name, method and rank of the web images of a bucket. verdicts: image_id, class_name and
    verdict of those with votes; the others count as undecided.
    """
    rows = questions.merge(verdicts[[*QUESTION, "verdict"]], on=QUESTION, how="left")
    rows["verdict"] = rows["verdict"].fillna("undecided")
    rows["method"] = rows["method"].astype("str").fillna("")
    band = np.searchsorted(BANDS, rows["rank"].fillna(NO_RANK).to_numpy(), side="right") - 1
    rows["band"] = np.where(rows["rank"].isna(), NO_RANK, band)
    counts = rows.groupby([*KEY, "verdict"]).size().unstack("verdict", fill_value=0)
    return counts.reindex(columns=list(VERDICTS), fill_value=0)


def precision_table(counts: Iterable[pd.DataFrame]) -> pa.Table:
    """Return the precision by method and band, for all classes together, then for each class.

    counts: `precision_counts` of buckets.
    """
    parts = [part for part in counts if len(part)]
    if not parts:
        return RETRIEVAL_PRECISION.schema.empty_table()
    total = pd.concat(parts).groupby(level=KEY).sum().reset_index()
    whole = total.groupby(["method", "band"], as_index=False)[list(VERDICTS)].sum().assign(class_name=None)
    table = pd.concat([whole, total.sort_values(KEY)], ignore_index=True)
    share, low, high = wilson_interval(table["yes"].to_numpy(), (table["yes"] + table["no"]).to_numpy())
    band = table["band"].to_numpy()
    starts = [None if b == NO_RANK else BANDS[b] for b in band]
    ends = [None if b in (NO_RANK, len(BANDS) - 1) else BANDS[b + 1] - 1 for b in band]
    columns = [
        [None if pd.isna(name) else name for name in table["class_name"]],
        [method or None for method in table["method"]],
        starts,
        ends,
        *(table[name] for name in VERDICTS),
        *(pd.Series(values) for values in (share, low, high)),
    ]
    arrays = [
        pa.array(c, f.type, from_pandas=True)
        for c, f in zip(columns, RETRIEVAL_PRECISION.schema, strict=True)
    ]
    return pa.table(arrays, schema=RETRIEVAL_PRECISION.schema)
