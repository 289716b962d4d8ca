"""The rejection limit: a stage that rejects too large a share of its rows stops the build."""

from collections import Counter
from collections.abc import Collection, Mapping

import pandas as pd
import pyarrow as pa
from pyarrow import compute as pc

from common.errors import DataError
from pipeline.running.stage import counts
from pipeline.shards import directory
from schemas.manifest import Manifest

BY_CLASS = ("clean", "test")  # sources for which the limit also applies to each class
_COLUMNS = ["location", "image_id", "class_name", "code", "detail"]


def check_share(
    stage: str,
    manifest: Manifest,
    folder: str,
    rows: int,
    limit: float,
    what: str,
    expected: Collection[str] = (),
) -> None:
    """Raise DataError if more than the share `limit` of `rows` was rejected, with the most frequent codes and an example.

    `stage` is the section of the configuration that has the limit. Codes in `expected` do not count: the configuration asks
    for these rejections.
    """
    rejected = Counter({code: n for code, n in counts(manifest).items() if code not in expected})
    if _is_exceeded(rejected.total(), rows, limit):
        raise DataError(_message(stage, rejected, rows, limit, what, folder))


def _is_exceeded(rejected: int, rows: int, limit: float) -> bool:
    """Return whether `rejected` of `rows` are more than the share `limit`.

    The quotient is rounded to the same float as the decimal fraction of the configuration; a product is not: 0.29 * 100 is
    less than 29.
    """
    return rejected > 0 and rejected / max(rows, 1) > limit


def check_lists(
    rejections: str, retrievals: str, sources: Mapping[str, str], limit: float, expected: Collection[str] = ()
) -> None:
    """Raise DataError if more than `limit` of the rows of a list, or of a class of clean or test images, were rejected.

    rejections, retrievals: folders of the tables; sources: clean, test or web by name of list; expected: as in
    `check_share`. The limit applies to each list and class because a limit over all rows would not notice the loss of a
    small one.
    """
    rows = pd.concat([_by_list(rejections, ["code"]), _by_list(retrievals, [])], ignore_index=True)
    rows["source"] = rows["list"].map(dict(sources))
    of_class = rows[rows["source"].isin(BY_CLASS) & rows["class_name"].notna()]
    for keys, group in [*rows.groupby(["list"]), *of_class.groupby(["source", "class_name"])]:
        rejected = group[group["code"].notna() & ~group["code"].isin(list(expected))]
        if not _is_exceeded(int(rejected["rows"].sum()), int(group["rows"].sum()), limit):
            continue
        codes = Counter(rejected.groupby("code")["rows"].sum().to_dict())
        what = f"rows of {keys[0]}" if len(keys) == 1 else f"{keys[0]} rows of class {keys[1]}"
        within = (
            _list_of(pc.field("location")) == keys[0] if len(keys) == 1 else pc.field("class_name") == keys[1]
        )
        raise DataError(_message("ingest", codes, int(group["rows"].sum()), limit, what, rejections, within))


def _list_of(row: pc.Expression | pa.Array) -> pc.Expression | pa.Array:
    """Return the list name of locations `list:line`."""
    return pc.replace_substring_regex(row, pattern=r":[^:]*$", replacement="")


def _by_list(folder: str, more: list[str]) -> pd.DataFrame:
    """Count the `rows` of a table by list, class_name and the columns `more`."""
    parts = [pd.DataFrame(columns=["list", "class_name", "code", "rows"])]
    for table in directory.read_shards(folder, ["location", "class_name", *more]):
        keys = ["list", "class_name", *more]
        named = table.append_column("list", _list_of(table["location"])).select(keys)
        parts.append(named.group_by(keys).aggregate([([], "count_all")]).to_pandas())
        parts[-1] = parts[-1].rename(columns={"count_all": "rows"})
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)


def _message(
    stage: str,
    rejected: Counter[str],
    rows: int,
    limit: float,
    what: str,
    folder: str,
    within: pc.Expression | None = None,
) -> str:
    codes = ", ".join(f"{count} {code}" for code, count in rejected.most_common(3))
    example = pc.field("code") == rejected.most_common(1)[0][0]
    return (
        f"{rejected.total()} of {rows} {what} were rejected ({codes}), more than {stage}.max_rejected_share = {limit}; "
        f"inspect {folder} (pandas.read_parquet opens it), then correct the input or raise the limit.\n"
        f"Example: {_example(folder, example if within is None else example & within)}"
    )


def _example(folder: str, condition: pc.Expression) -> str:
    """Describe the first row that fulfills the condition; at least one exists."""
    for table in directory.read_shards(folder, _COLUMNS):
        for row in table.filter(condition).slice(0, 1).to_pylist():
            named = [
                row["location"],
                *(row[name] for name in ("image_id", "class_name") if row[name] is not None),
            ]
            return f"{', '.join(named)}: {row['detail']}"
    raise AssertionError(f"{folder} counts rejections but contains none")
