"""Record every fetched URL immediately, so that a killed run continues where it stopped.

A task appends one JSON line per URL to its journal, and each body to a second file. The line holds the offset of the
body and is written after it, so a crash leaves complete lines and at most one incomplete line, which readers skip. A million
bodies take a few hundred files. Object stores show a file when it is closed, so there files are rotated every 64 MB.
"""

import hashlib
import json
import re
import secrets
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from typing import IO, Any

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import json as arrow_json

from common.config import fetching_values
from common.errors import DataError
from pipeline import files
from pipeline.config import BuildConfig
from pipeline.fetch.url_fetcher import FetchedBody
from pipeline.rejections import Rejected, RequestStats
from schemas.fetched import FETCHED

ROTATE_BYTES = 64 << 20
COPY_BYTES = 1 << 20
BLOCK_BYTES = 1 << 30  # which Arrow parses at once; a line must fit into it, and Arrow has a limit of 2 GiB
JOURNAL, BODIES = ".jsonl", ".bodies"
_NO_OBJECT = re.compile(rb"\n[^{]")  # a line after the first that is not a JSON object
_REMEDY = "delete it to fetch its URLs again"

# A line of a journal; `rules` is the digest by fetch_rules of the configuration that a failure was recorded with.
_LINE = pa.schema([field for field in FETCHED.schema if field.name != "body_file"]).append(
    pa.field("rules", pa.string())
)
RECORDED = pa.schema(
    [*_LINE, ("body_file", pa.string()), pa.field("journal", pa.string()), pa.field("line", pa.int64())]
)
"""Schema of the rows of `read_journal`: a line, the file of its body, and the journal and number of the line."""


def fetch_rules(config: BuildConfig) -> str:
    """Return a digest of the values that affect which fetches fail; a URL that failed under other rules is requested again."""
    values = json.dumps(fetching_values(config.ingest) | fetching_values(config.fetch), sort_keys=True)
    return hashlib.sha256(values.encode()).hexdigest()[:16]


def next_run(journals: Iterable[str]) -> int:
    """Return a run number above those of all journals, given their file names."""
    return max((int(name.partition("-")[0]) for name in journals), default=0) + 1


def read_journal(folder: str, name: str) -> pa.Table:
    """Read the complete lines of one journal, in the order in which they were written.

    The offset of a body is null if the body file is missing or too short, so that the URL is fetched again. Returns a
    table of the schema RECORDED. Raises DataError if a complete line is damaged.
    """
    path = files.join(folder, name)
    with files.open_read(path) as file:
        data = file.read()
    complete = data[: data.rfind(b"\n") + 1]
    if not complete:
        return RECORDED.empty_table()
    # Arrow 25.0.1 crashes if the first line is `null`, and reads `null` in later lines as an empty object.
    if not complete.startswith(b"{") or _NO_OBJECT.search(complete):
        raise DataError(f"{path}: damaged journal (a line is not an object); {_REMEDY}")
    options = arrow_json.ParseOptions(explicit_schema=_LINE, unexpected_field_behavior="ignore")
    read_options = arrow_json.ReadOptions(block_size=min(len(complete), BLOCK_BYTES))
    try:
        rows = arrow_json.read_json(pa.BufferReader(complete), read_options, options).select(_LINE.names)
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: damaged journal ({error}); {_REMEDY}") from error
    bodies = name.removesuffix(JOURNAL) + BODIES
    is_stored = pc.less_equal(
        pc.add(rows["offset"], rows["length"]), files.size(files.join(folder, bodies)) or 0
    )
    for column in ("offset", "length"):
        index = rows.column_names.index(column)
        rows = rows.set_column(
            index, column, pc.if_else(is_stored, rows[column], pa.scalar(None, pa.int64()))
        )
    body_file = pc.if_else(pc.is_valid(rows["offset"]), bodies, pa.scalar(None, pa.string()))
    rows = rows.append_column("body_file", body_file)
    rows = rows.append_column("journal", pa.array([name] * rows.num_rows, pa.string()))
    return rows.append_column("line", pa.array(np.arange(rows.num_rows))).cast(RECORDED)


def latest(rows: pa.Table) -> pa.Table:
    """Keep one row per URL: the last success, or else the last failure.

    rows: of the schema RECORDED, in any order; names of later journals sort later. The result is sorted by URL.
    """
    rows = rows.append_column("failed", pc.is_valid(rows["code"]))
    return _first_of_each_url(rows, [("failed", "ascending")]).drop_columns(["failed"])


def urls_with_last_code(rows: pa.Table, code: str) -> pa.Array:
    """Return the URLs whose last outcome is a rejection with this code, also where an earlier run fetched them.

    rows: as for `latest`.
    """
    last = _first_of_each_url(rows, [])
    return last.filter(pc.equal(last["code"], code))["url"].combine_chunks()


def _first_of_each_url(rows: pa.Table, order: list[tuple[str, str]]) -> pa.Table:
    """Sort by URL, `order`, and last lines first, and keep the first row of each URL."""
    rows = rows.sort_by([("url", "ascending"), *order, ("journal", "descending"), ("line", "descending")])
    urls = rows["url"].combine_chunks()
    if len(urls):
        rows = rows.filter(pa.concat_arrays([pa.array([True]), pc.not_equal(urls[1:], urls[:-1])]))
    return rows


class Journal:
    """The journal of one task: `put` and `put_failure` append, and return the row for the table `fetched`.

    rules: digest by fetch_rules.
    """

    def __init__(self, folder: str, prefix: str, rules: str) -> None:
        self._folder, self._prefix, self._rules = folder, prefix, rules
        self.counts: Counter[str] = Counter()
        """Metrics of the task."""
        self._lines: IO[bytes] | None = None
        self._bodies: IO[bytes] | None = None
        self._name = ""
        self._written: dict[str, tuple[int, int]] = {}  # digest → offset and length in the current body file
        self._offset = 0

    def put(self, url: str, fetched: FetchedBody) -> dict[str, Any]:
        """Store the body of a URL, unless the body file has the same bytes already."""
        digest = fetched.sha256
        self._open()
        if digest not in self._written:
            assert self._bodies is not None
            fetched.body.seek(0)
            shutil.copyfileobj(fetched.body, self._bodies, COPY_BYTES)
            length = fetched.body.tell()
            self._written[digest] = (self._offset, length)
            self._offset += length
        offset, length = self._written[digest]
        row = {"url": url, "sha256": digest, "offset": offset, "length": length, **fetched.headers}
        return self._append(row, fetched.stats) | {"body_file": self._name + BODIES}

    def put_failure(self, url: str, rejected: Rejected) -> dict[str, Any]:
        """Record the rejection of a URL."""
        self.counts["url.failed"] += 1
        row = {"url": url, "code": rejected.code, "detail": rejected.detail, "rules": self._rules}
        return self._append(row, rejected.stats or RequestStats(""))

    def _append(self, row: dict[str, Any], stats: RequestStats) -> dict[str, Any]:
        self.counts.update({"url.asked": 1, "url.requests": stats.attempts, "url.bytes": stats.bytes_seen})
        self._open()
        assert self._lines is not None
        row |= asdict(stats)
        self._lines.write(json.dumps(row).encode() + b"\n")
        if "://" in self._folder and self._offset > ROTATE_BYTES:
            self.close()
        return row

    def _open(self) -> None:
        if self._lines is None:
            self._name = f"{self._prefix}-{secrets.token_hex(8)}"
            self._bodies = files.open_append(files.join(self._folder, self._name + BODIES))
            self._lines = files.open_append(files.join(self._folder, self._name + JOURNAL))

    def close(self) -> None:
        """Close the files: bodies first, because the journal refers to them."""
        for file in (self._bodies, self._lines):
            if file:
                file.close()
        self._lines = self._bodies = None
        self._written, self._offset = {}, 0
