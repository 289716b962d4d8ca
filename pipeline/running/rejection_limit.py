"""The rejection limit: a stage that rejects too large a share of its rows stops the build."""

from collections import Counter
from collections.abc import Collection

from pyarrow import compute as pc

from pipeline.running.stage import counts
from pipeline.shards import directory
from schemas.errors import DataError
from schemas.manifest import Manifest


def check_share(
    manifest: Manifest, folder: str, rows: int, limit: float, what: str, expected: Collection[str] = ()
) -> None:
    """Raise DataError if more than `limit` of the `rows` were rejected; it names the most frequent codes and one row.

    Rows with the codes `expected` are left out by a rule of the configuration and no sign of a fault: they do not count.
    """
    rejected = Counter({code: n for code, n in counts(manifest).items() if code not in expected})
    total = rejected.total()
    if total <= limit * rows:
        return
    codes = ", ".join(f"{count} {code}" for code, count in rejected.most_common(3))
    raise DataError(
        f"{total} of {rows} {what} were rejected ({codes}), more than max_rejected_share = {limit}; "
        f"look at {folder} (pandas.read_parquet opens it), mend the input or raise the limit.\n"
        f"For one, {_example(folder, rejected.most_common(1)[0][0])}"
    )


def _example(folder: str, code: str) -> str:
    """Describe a row with this code. There is one: a table is committed as a whole."""
    for table in directory.read_shards(folder, ["row", "image_id", "class_name", "code", "detail"]):
        for row in table.filter(pc.field("code") == code).slice(0, 1).to_pylist():
            named = [row["row"], *(row[name] for name in ("image_id", "class_name") if row[name] is not None)]
            return f"{', '.join(named)}: {row['detail']}"
    raise AssertionError(f"{folder} counts {code} and has none")
