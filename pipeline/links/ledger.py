"""The ledger of link rot: a folder with one Parquet file per check, and the lines of a check that is not finished.

Each outcome is appended at once as a JSON line (journal.py), so a killed check continues where it stopped. Its Parquet file
replaces the lines at the end.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, islice
from typing import Any

import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import parquet

from common import parquet_rows
from common.errors import DataError
from pipeline import files
from pipeline.shards.directory import with_schema
from schemas.link_check import LINK_CHECK
from schemas.table import UNREADABLE

CHECK, LINES = ".parquet", ".jsonl"
BLOCK_ROWS = 8192
_HEAD = {"started_at": str, "urls": int, "digest": str}
_OUTCOME = {"url": str, "checked_at": str, "outcome": str}
_REMEDY = "restore the file, or delete it to forget what it says"


@dataclass(frozen=True)
class Check:
    """A check in progress. urls: number of its URLs; digest: of these URLs and what is known of them."""

    started_at: datetime
    urls: int
    digest: str

    @property
    def name(self) -> str:
        """Name of the files of the check, without their ending; names sort by time."""
        return f"{self.started_at:%Y-%m-%dT%H-%M-%S}.{self.started_at.microsecond // 1000:03d}Z"

    @property
    def head(self) -> dict[str, Any]:
        """The first line of each file of lines."""
        return {"started_at": time_text(self.started_at), "urls": self.urls, "digest": self.digest}


@dataclass(frozen=True)
class Unfinished:
    """A check that was stopped: the URLs that have an outcome, and the number of its files."""

    check: Check
    done: frozenset[str]
    parts: int


def now() -> datetime:
    """Return the present time in UTC, in milliseconds."""
    time = datetime.now(UTC)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def time_text(time: datetime) -> str:
    """Return a time in ISO 8601, in milliseconds."""
    return time.isoformat(timespec="milliseconds")


def lines_path(folder: str, check: Check, part: int) -> str:
    """Return the path of a file of lines of a check."""
    return files.join(folder, f"{check.name}-{part:06d}{LINES}")


def find_unfinished(folder: str) -> Unfinished | None:
    """Return the check that was stopped, or None; remove lines whose check is in the ledger already.

    Raises DataError if a line is damaged, or if the name of a file is not that of its check.
    """
    names = sorted(files.names(folder, f"*{LINES}"))
    committed = {name.removesuffix(CHECK) for name in files.names(folder, f"*{CHECK}")}
    left = [name for name in names if name.rpartition("-")[0] not in committed]
    check, done = None, set()
    for name in left:
        for row in _lines(folder, name):
            if "digest" not in row:
                done.add(row["url"])
                continue
            check = Check(datetime.fromisoformat(row["started_at"]), row["urls"], row["digest"])
            if check.name != name.rpartition("-")[0]:
                path = files.join(folder, name)
                raise DataError(f"{path}: damaged (its first line is of another check); {_REMEDY}")
    if check is None:  # none, or killed before the first line was complete
        left = []
    files.remove_all([files.join(folder, name) for name in names if name not in left])
    return Unfinished(check, frozenset(done), len(left)) if check else None


def commit_check(folder: str, check: Check) -> str:
    """Replace the lines of a check by its Parquet file, sorted by URL; return its path.

    Raises DataError if a line is damaged.
    """
    names = sorted(files.names(folder, f"{check.name}-*{LINES}"))
    lines = chain.from_iterable(_lines(folder, name) for name in names)
    rows = (row for row in lines if "digest" not in row)
    parts = [LINK_CHECK.schema.empty_table()]
    shared = {"started_at": check.started_at, "urls": check.urls}
    while block := list(islice(rows, BLOCK_ROWS)):
        times = [datetime.fromisoformat(row["checked_at"]) for row in block]
        full = ({**row, **shared, "checked_at": time} for row, time in zip(block, times, strict=True))
        try:
            # The cast raises ValueError for a missing value of a required column.
            parts.append(LINK_CHECK.from_rows(full).cast(LINK_CHECK.schema))
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            path = files.join(folder, f"{check.name}-*{LINES}")
            raise DataError(f"{path}: a value is missing or has a wrong type ({error}); {_REMEDY}") from error
    path = files.join(folder, check.name + CHECK)
    with files.replace(path) as file:
        parquet.write_table(pa.concat_tables(parts).sort_by("url"), file, compression="zstd")
    files.remove_all([files.join(folder, name) for name in names])
    return path


def _lines(folder: str, name: str) -> Iterator[dict[str, Any]]:
    """Yield the complete lines of a file. Raises DataError if one is damaged."""
    path = files.join(folder, name)
    with files.open_read(path) as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                row = json.loads(line)
                is_head = isinstance(row, dict) and "digest" in row
                kinds = _HEAD if is_head else _OUTCOME
                if not isinstance(row, dict) or not all(isinstance(row.get(k), kinds[k]) for k in kinds):
                    raise ValueError("not an outcome of a check")
                datetime.fromisoformat(row["started_at" if is_head else "checked_at"])
            except (ValueError, RecursionError) as error:
                raise DataError(f"{path}, line {number}: damaged ({error}); {_REMEDY}") from error
            yield row


def read_checks(folder: str, columns: list[str] | None = None) -> pa.Table:
    """Return all rows of the ledger (LINK_CHECK), the oldest check first; a folder without checks has none.

    Raises DataError if a file is damaged.
    """
    names = columns or LINK_CHECK.schema.names
    schema = pa.schema([LINK_CHECK.schema.field(name) for name in names])
    parts = [schema.empty_table()]
    for name in sorted(files.names(folder, f"*{CHECK}")):
        path = files.join(folder, name)
        with files.open_read(path) as file:
            try:
                table = parquet_rows.read_table(file, names)
                table.validate(full=True)  # raises ArrowInvalid for text that is not UTF-8
            except UNREADABLE as error:
                raise DataError(f"{path}: cannot be read ({error}); {_REMEDY}") from error
        parts.append(with_schema(table, schema, path))
    return pa.concat_tables(parts)


def first_of_each(checks: pa.Table) -> pa.Table:
    """Return the first row of each URL."""
    numbered = checks.append_column("row", pa.array(range(checks.num_rows), pa.int64()))
    first = numbered.group_by("url", use_threads=False).aggregate([("row", "min")])
    return checks.take(first["row_min"])


def last_of_each(checks: pa.Table) -> pa.Table:
    """Return the last row of each URL."""
    return first_of_each(checks.take(pa.array(range(checks.num_rows - 1, -1, -1), pa.int64())))


def known_versions(folder: str) -> pa.Table:
    """Return the last version with an ETag that each URL gave: columns url, final_url, etag, sha256."""
    rows = read_checks(folder, ["url", "final_url", "etag", "sha256"])
    return last_of_each(rows.filter(pc.is_valid(rows["etag"])))


def first_digests(folder: str) -> dict[str, str]:
    """Return the digest of the first image that each URL gave, for URLs whose image was not known before."""
    rows = read_checks(folder, ["url", "outcome", "sha256"])
    rows = first_of_each(rows.filter(pc.equal(rows["outcome"], "first")))
    return dict(zip(rows["url"].to_pylist(), rows["sha256"].to_pylist(), strict=True))
