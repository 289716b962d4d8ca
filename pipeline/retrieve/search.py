"""Search images of each class, page by page, and write one retrieval list; an interrupted search continues."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import IO, Any

import pyarrow as pa
from pyarrow import parquet

from common.errors import UsageError
from common.json_records import parse_stored
from common.locks import open_locked
from pipeline import files
from pipeline.ingest.rows import ID_DIGITS
from pipeline.retrieve.client import ProviderClient
from pipeline.retrieve.provider import Candidate, Parameters, ResultPage
from schemas.cells import csv_text

EXTENSIONS = (".csv", ".jsonl", ".parquet")
MAX_STALE_PAGES = 5
MAX_PAGES = 1000  # of one query; the limits of the providers are 10 to 200
COLUMNS = (
    "image_id",
    "class_name",
    "url",
    "method",
    "rank",
    "provider",
    "query",
    *[f.name for f in fields(Candidate)][1:],
)


@dataclass(frozen=True)
class SearchRequest:
    """A search: provider, queries of each class, and number of images per class."""

    provider: str
    queries: Mapping[str, Sequence[str]]
    per_class: int


def class_queries(
    classes: Sequence[str], templates: Sequence[str], synonyms: Mapping[str, Sequence[str]]
) -> dict[str, list[str]]:
    """Return the queries of each class: every template with every synonym of the class, or else with its name."""
    for template in templates:
        if "{class}" not in template:
            raise UsageError(f"--query {template!r}: write {{class}} in place of the class name")
    for name in synonyms:
        if name not in classes:
            raise UsageError(f"--synonyms: unknown class {name!r}; the classes are {', '.join(classes)}")
    return {
        name: list(
            dict.fromkeys(
                t.replace("{class}", word) for t in templates for word in synonyms.get(name, [name])
            )
        )
        for name in classes
    }


def retrieve(
    request: SearchRequest, client: ProviderClient, output: str, say: Callable[[str], None]
) -> dict[str, Any]:
    """Search, report the number of images of each class, write `output`, and return counts.

    Pages are recorded in a journal beside `output`, from which an interrupted search continues. Raises UsageError unless
    `output` can be a new list, also while another command searches for it, DataError if the provider fails.
    """
    check_new("--output", output)
    files.make_folder(os.path.dirname(output) or ".")
    journal = _Journal(f"{output}.searching", request)
    try:
        if os.path.exists(output):  # another command has completed it in the meantime
            journal.remove()
        check_new("--output", output)
        return _search(journal, request, client, output, say)
    finally:
        journal.close()


def _search(
    journal: "_Journal",
    request: SearchRequest,
    client: ProviderClient,
    output: str,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Search like `retrieve`, with an open journal."""
    rows: list[dict[str, Any]] = []
    counts = {"skipped": 0, "repeated": 0}
    short = []
    for name, queries in request.queries.items():
        seen: set[str] = set()
        surplus: list[dict[str, Any]] = []
        for i, query in enumerate(queries):
            # Later queries make up for images that a query does not find.
            goal = len(seen) - (len(seen) - request.per_class) // (len(queries) - i)
            pages, rank = _pages(journal, client, name, query), 0
            while len(seen) < goal and (candidates := next(pages, None)) is not None:
                for candidate in candidates:
                    if candidate is None:
                        counts["skipped"] += 1
                    elif candidate.url in seen:
                        counts["repeated"] += 1
                    else:
                        row = _row(request.provider, name, query, rank, candidate)
                        if len(seen) < goal:
                            seen.add(candidate.url)
                            rows.append(row)
                        else:
                            surplus.append(row)
                    rank += 1
        for row in surplus:  # of the last page of each query
            if len(seen) == request.per_class:
                break
            if row["url"] in seen:
                counts["repeated"] += 1
            else:
                seen.add(row["url"])
                rows.append(row)
        if len(seen) < request.per_class:
            short.append(name)
        say(f"{name}: {len(seen):,} of {request.per_class:,}")
    write_list(rows, output, COLUMNS)
    journal.remove()
    return {"rows": len(rows), "requests": client.requests, **counts, "short": short}


def _pages(
    journal: "_Journal", client: ProviderClient, name: str, query: str
) -> Iterator[list[Candidate | None]]:
    """Yield the pages of a query: first those in the journal, then those of the provider.

    A query ends when the provider has no more pages, asks for the same request again, or returns MAX_STALE_PAGES pages in
    a row without a URL that is new to the query, since some providers repeat their last page forever.
    """
    key = f"{name}\n{query}"
    recorded = iter(journal.pages(key))
    requested: list[Parameters] = []
    urls: set[str] = set()
    stale = 0
    following: Parameters | None = client.first(query)
    while (
        following is not None
        and following not in requested
        and stale < MAX_STALE_PAGES
        and len(requested) < MAX_PAGES
    ):
        requested.append(following)
        candidates, following = next(recorded, None) or journal.record(key, client.page(following))
        yield candidates
        new = {candidate.url for candidate in candidates if candidate} - urls
        urls |= new
        stale = 0 if new else stale + 1


def _row(provider: str, name: str, query: str, rank: int, candidate: Candidate) -> dict[str, Any]:
    columns = asdict(candidate)
    return {
        "image_id": hashlib.sha256(candidate.url.encode()).hexdigest()[:ID_DIGITS],
        "class_name": name,
        "url": columns.pop("url"),
        "method": "text",
        "rank": rank,
        "provider": provider,
        "query": query,
        **columns,
    }


@dataclass(frozen=True)
class _JournalPage:
    """A received page. key: class and query; next: parameters of the next page."""

    key: str
    candidates: tuple[Candidate | None, ...]
    next: Parameters | None


class _Journal:
    """A file of received pages, one JSON object per line; the first line is the request. It is locked while it is open.

    Raises UsageError if another command has it open, or if it is of another request.
    """

    def __init__(self, path: str, request: SearchRequest) -> None:
        self.path = path
        self._pages: dict[str, list[tuple[list[Candidate | None], Parameters | None]]] = {}
        file = open_locked(path)
        if file is None:
            raise UsageError(
                f"{path}: another `retrieve` is searching for this list; wait until it ends, or choose another --output"
            )
        self._file = open(file, "ab+", buffering=0)  # noqa: SIM115  closed by `close`
        try:
            self._read(json.dumps(asdict(request), sort_keys=True))
        except BaseException:
            self.close()
            raise

    def _read(self, about: str) -> None:
        """Read the recorded pages, and begin a new file."""
        self._file.seek(0)
        *lines, rest = self._file.read().split(b"\n")
        # The last line is incomplete if the search was interrupted while it was written, or the disk was full.
        if not (lines[0] == about.encode() if lines else about.encode().startswith(rest)):
            raise UsageError(
                f"{self.path} belongs to another search; complete that search, or remove the file"
            )
        self._file.truncate(self._file.tell() - len(rest))
        if not lines:
            self._write(about)
        remedy = "remove the file to search again from the start"
        for number, line in enumerate(lines[1:], 2):
            page = parse_stored(_JournalPage, line, f"{self.path}, line {number}", remedy)
            self._pages.setdefault(page.key, []).append((list(page.candidates), page.next))

    def _write(self, line: str) -> None:
        left = memoryview(line.encode() + b"\n")
        while left:
            left = left[self._file.write(left) :]

    def pages(self, key: str) -> list[tuple[list[Candidate | None], Parameters | None]]:
        return self._pages.get(key, [])

    def record(self, key: str, page: ResultPage) -> tuple[list[Candidate | None], Parameters | None]:
        line = {
            "key": key,
            "candidates": [candidate and asdict(candidate) for candidate in page.candidates],
            "next": page.next,
        }
        self._write(json.dumps(line))
        return page.candidates, page.next

    def remove(self) -> None:
        os.remove(self.path)

    def close(self) -> None:
        self._file.close()


def check_new(flag: str, path: str) -> None:
    """Raise UsageError unless `path` can be the file of a new list."""
    if not path.endswith(EXTENSIONS) or "://" in path:
        raise UsageError(f"{flag} {path}: give a local file that ends in {', '.join(EXTENSIONS)}")
    if os.path.exists(path):
        raise UsageError(f"{flag} {path}: the file exists; remove it or choose another name")


def check_different(paths: Mapping[str, str | None]) -> None:
    """Raise UsageError if two flags, given with their paths, name the same file."""
    flags: dict[str, str] = {}
    for flag, path in paths.items():
        if path and (other := flags.setdefault(os.path.realpath(path), flag)) != flag:
            raise UsageError(f"{flag} {path}: the same file as {other}; choose another name")


def write_list(rows: Sequence[Mapping[str, Any]], path: str, columns: Sequence[str]) -> None:
    """Write rows as CSV, JSON lines or Parquet, by the extension of `path`."""
    write_lists({path: rows}, columns)


def write_lists(lists: Mapping[str, Sequence[Mapping[str, Any]]], columns: Sequence[str]) -> None:
    """Write several lists, given as rows by path, like `write_list`: either all of them or none."""
    with files.replace_together(lists) as opened:
        for file, (path, rows) in zip(opened, lists.items(), strict=True):
            write_rows(file, rows, path, columns)


def write_rows(file: IO[bytes], rows: Sequence[Mapping[str, Any]], path: str, columns: Sequence[str]) -> None:
    """Write rows to an open file, in the format that the extension of its `path` names."""
    if path.endswith(".parquet"):
        fields_of_list = [(name, pa.int32() if name == "rank" else pa.string()) for name in columns]
        parquet.write_table(pa.Table.from_pylist(list(rows), pa.schema(fields_of_list)), file)
    elif path.endswith(".jsonl"):
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    else:
        cells = ([row.get(name) for name in columns] for row in rows)
        file.write(csv_text(columns, cells).encode())
