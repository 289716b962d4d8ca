"""What earlier runs have fetched from the web: bodies by their digest, and what became of every URL.

A run writes, for each bucket, a log (JSON lines, one a URL) and a file of bodies one after the other; a line of the
log says where its body is, and is written after it. So a killed run leaves whole lines and perhaps a torn one, which
is passed over. A million bodies are a few hundred files. On object stores, which show a file when it is closed, files
are closed and begun anew every 64 MB.

Before a run the logs are gathered into one index, in which each URL has a line: its last success, or its last failure.
"""

import hashlib
import json
import secrets
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import IO, Any

import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import json as arrow_json
from pyarrow import parquet

from pipeline import files
from pipeline.config import IngestConfig
from pipeline.rejections import Asked, Rejected
from schemas.config import fetching_values
from schemas.errors import DataError

INDEX = "index.parquet"
REMOTE_BYTES = 64 << 20
COPY_BYTES = 1 << 20

LOG = pa.schema(
    [
        ("url", pa.string()), ("sha256", pa.string()), ("offset", pa.int64()), ("length", pa.int64()),
        ("code", pa.string()), ("detail", pa.string()), ("rules", pa.string()),
        ("host", pa.string()), ("status", pa.int16()), ("bytes_seen", pa.int64()), ("seconds", pa.float64()),
        ("attempts", pa.int16()),
    ]
)  # fmt: skip
_INDEX = LOG.append(pa.field("log", pa.string()))


@dataclass(frozen=True)
class Entry:
    """What is known of one URL: its body's digest (and place, where the body was kept), or why there is none."""

    sha256: str | None
    log: str
    offset: int | None
    length: int | None
    rejected: Rejected | None
    asked: Asked


def fetch_rules(config: IngestConfig) -> str:
    """Digest of the values that affect which fetches fail: a failure under other rules is asked again."""
    values = json.dumps(fetching_values(config), sort_keys=True)
    return hashlib.sha256(values.encode()).hexdigest()[:16]


def begin_run(folder: str) -> int:
    """Gather all logs into the index; returns the number of the run, which is higher than those before.

    Raises DataError, naming the log, where one is damaged within.
    """
    logs = sorted(files.names(folder, "*.jsonl"))
    if not logs:
        return 1
    tables = [_read_log(folder, log) for log in logs]
    runs = [int(log.partition("-")[0]) for log in logs]
    rows = pa.concat_tables([_INDEX.empty_table(), *tables])
    order = pa.table(
        {
            "url": rows["url"],
            "failed": pc.is_valid(rows["code"]),
            "nth": pa.array(range(rows.num_rows, 0, -1), pa.int64()),  # logs of later runs stand later
        }
    )
    by_url = pc.sort_indices(order, sort_keys=[(name, "ascending") for name in order.column_names])
    rows = rows.take(by_url)
    urls = rows["url"].combine_chunks()
    if len(urls):
        rows = rows.filter(pa.concat_arrays([pa.array([True]), pc.not_equal(urls[1:], urls[:-1])]))
    with files.replace(files.join(folder, INDEX)) as file:
        parquet.write_table(rows, file)
    return max(runs) + 1


def _read_log(folder: str, log: str) -> pa.Table:
    path = files.join(folder, log)
    with files.open_read(path) as file:
        data = file.read()
    whole = data[: data.rfind(b"\n") + 1]
    if not whole:
        return _INDEX.empty_table()
    options = arrow_json.ParseOptions(explicit_schema=LOG, unexpected_field_behavior="ignore")
    one_block = arrow_json.ReadOptions(block_size=len(whole))  # no line may be longer than a block
    try:
        rows = arrow_json.read_json(pa.BufferReader(whole), one_block, options)
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: damaged ({error}); remove it, what it tells of is fetched again") from error
    return rows.select(LOG.names).append_column(
        _INDEX.field("log"), pa.array([log] * rows.num_rows, pa.string())
    )


class Store:
    """The store as one task sees it: what is known of its URLs, and a log and bodies of its own to add to.

    `put` may be called from one thread at a time.
    """

    def __init__(self, folder: str, run: int, urls: Iterable[str], config: IngestConfig) -> None:
        self._folder, self._keep = folder, config.keep_fetched
        self._rules = fetch_rules(config)
        self._run = run
        self.known = self._look_up(urls)
        self.added: Counter[str] = Counter()  # what it came to, for the metrics
        self._log: IO[bytes] | None = None
        self._bodies: IO[bytes] | None = None
        self._written: dict[str, tuple[int, int]] = {}
        self._offset = 0

    def _look_up(self, urls: Iterable[str]) -> dict[str, Entry]:
        wanted = pa.array(urls, pa.string())
        path = files.join(self._folder, INDEX)
        found: dict[str, Entry] = {}
        if not len(wanted) or not files.exists(path):
            return found
        with files.open_read(path) as file:
            for batch in parquet.ParquetFile(file).iter_batches():
                for row in batch.filter(pc.is_in(batch.column("url"), wanted)).to_pylist():
                    asked = Asked(**{field.name: row[field.name] for field in fields(Asked)})
                    failed = row["code"] and Rejected(row["code"], row["detail"], asked)
                    if failed and row["rules"] != self._rules:
                        continue
                    found[row["url"]] = Entry(
                        row["sha256"], row["log"], row["offset"], row["length"], failed or None, asked
                    )
        return found

    def keeps(self, url: str | None) -> bool:
        """Whether an earlier run has kept the body of a URL."""
        return url in self.known and self.known[url].offset is not None

    def bodies(self, urls: Sequence[str]) -> Iterable[tuple[str, bytes]]:
        """The bodies that are kept of known `urls`, in the order in which they lie there.

        One that is not there any more, or is not what it was, is left out.
        """
        kept = [(self.known[url], url) for url in urls if self.known[url].offset is not None]
        kept.sort(key=lambda pair: (pair[0].log, pair[0].offset))
        file, opened = None, ""
        try:
            for entry, url in kept:
                if entry.log != opened:
                    if file:
                        file.close()
                    path = files.join(self._folder, _bodies_of(entry.log))
                    file, opened = (files.open_read(path) if files.exists(path) else None), entry.log
                if file is None:
                    continue
                file.seek(entry.offset or 0)
                data = file.read(entry.length or 0)
                if hashlib.sha256(data).hexdigest() == entry.sha256:
                    yield url, data
        finally:
            if file:
                file.close()

    def put(self, url: str, body: IO[bytes], digest: str, asked: Asked) -> None:
        """Add what a URL gave. The same bytes are kept once in a task."""
        place: tuple[int | None, int | None] = (None, None)
        if self._keep:
            self._open()
            if digest not in self._written:
                assert self._bodies is not None
                body.seek(0)
                shutil.copyfileobj(body, self._bodies, COPY_BYTES)
                length = body.tell()
                self._written[digest] = (self._offset, length)
                self._offset += length
            place = self._written[digest]
        self._append({"url": url, "sha256": digest, "offset": place[0], "length": place[1]}, asked)

    def put_rejected(self, url: str, rejected: Rejected) -> None:
        """Add that a URL gave nothing, and why."""
        facts = {"code": rejected.code, "detail": rejected.detail, "rules": self._rules}
        self._append({"url": url, **facts}, rejected.asked or Asked(""))
        self.added["url.failed"] += 1

    def _append(self, row: dict[str, Any], asked: Asked) -> None:
        self.added.update({"url.asked": 1, "url.requests": asked.attempts, "url.bytes": asked.bytes_seen})
        self._open()
        assert self._log is not None
        self._log.write(json.dumps(row | asdict(asked)).encode() + b"\n")
        if "://" in self._folder and self._offset > REMOTE_BYTES:
            self.close()

    def _open(self) -> None:
        if self._log is None:
            log = f"{self._run:06d}-{secrets.token_hex(8)}.jsonl"
            self._log = files.open_append(files.join(self._folder, log))
            if self._keep:
                self._bodies = files.open_append(files.join(self._folder, _bodies_of(log)))

    def close(self) -> None:
        """Close the files: bodies first, for a log speaks of them."""
        for file in (self._bodies, self._log):
            if file:
                file.close()
        self._log = self._bodies = None
        self._written, self._offset = {}, 0


def _bodies_of(log: str) -> str:
    return log.removesuffix(".jsonl") + ".bodies"
