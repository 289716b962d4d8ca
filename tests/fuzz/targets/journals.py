"""State files of earlier runs are read: ledgers of links, journals of fetches, of searches and of votes.

The first byte chooses the file. A file gives rows or a `DataError` (of a search: `UsageError`) that names it: a damaged
file never ends in another exception. A vote file that was repaired needs no repair, and keeps every complete line.
"""

import json
import shutil
from collections.abc import Iterator

from common.errors import DataError, UsageError
from pipeline.fetch.journal import RECORDED, latest, read_journal
from pipeline.links.ledger import Check, commit_check, find_unfinished, read_checks
from pipeline.retrieve.client import ProviderClient
from pipeline.retrieve.providers import PROVIDERS
from pipeline.retrieve.search import SearchRequest, retrieve
from pipeline.vote.journal import HEADER, repaired
from tests.fuzz.inputs import check_error, choice, folder, written

HEAD = {"started_at": "2026-11-30T07:00:00.000+00:00", "urls": 2, "digest": "ab"}
OUTCOME = {
    "url": "https://a.test/", "checked_at": "2026-11-30T07:00:01.000+00:00", "outcome": "same", "image_ids": ["a"],
    "class_names": ["ant"], "not_modified": False, "status": 200, "final_url": "https://a.test/", "etag": None, "code": None,
}  # fmt: skip
FETCHED = {
    "url": "https://a.test/",
    "host": "a.test",
    "sha256": "ab",
    "offset": 0,
    "length": 3,
    "code": None,
    "attempts": 1,
    "seconds": 0.5,
}
HIT = {"url": "https://a.test/1.jpg", "license": "by"}
SEARCH = SearchRequest("brave", {"ant": ["ant"]}, 1)
ABOUT = json.dumps({"per_class": 1, "provider": "brave", "queries": {"ant": ["ant"]}}).encode()
WORDS = (
    *(f'"{key}": '.encode() for key in dict.fromkeys([*HEAD, *OUTCOME, *FETCHED, "key", "hits", "next"])),
    *(
        b"\n",
        b"null",
        b"[]",
        b"{}",
        b"NaN",
        b"1e999",
        b"-1",
        b"9223372036854775808",
        b'"2026-11-30T07:00:00+00:00"',
        b"0001-01-01",
    ),
    *(HEADER, b",yes,", b",2026", b'"', b"\x00"),
)


def lines(*rows: object) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def seeds() -> Iterator[bytes]:
    """Yield a file of each kind, and some with faults."""
    yield b"\x00" + lines(HEAD, OUTCOME)
    yield b"\x00" + lines(HEAD, {**OUTCOME, "url": ["x"]}) + b'{"url'
    yield b"\x00" + lines({**HEAD, "urls": "x"}, {**OUTCOME, "image_ids": 3})
    yield b"\x00" + lines(HEAD, {name: value for name, value in OUTCOME.items() if name != "not_modified"})
    yield b"\x00" + lines({**HEAD, "started_at": "2027-11-30T07:00:00.000+00:00"}, OUTCOME)
    yield b"\x00" + b"[" * 20_000 + b"\n"
    yield b"\x01" + lines(FETCHED, {**FETCHED, "offset": None, "code": "not_found"}) + b"{"
    yield b"\x01" + lines({**FETCHED, "length": "x"})
    yield b"\x01" + lines(None, FETCHED)
    yield b"\x02" + ABOUT + b"\n" + lines({"key": "ant\nant", "hits": [HIT, None], "next": None})
    yield b"\x02" + ABOUT + b"\n" + lines({"key": "ant\nant", "hits": [{"x": 1}], "next": 3})
    yield (
        b"\x02"
        + ABOUT
        + b"\n"
        + lines({"hits": [HIT]}, {"key": "ant\nant", "hits": [HIT], "next": None})
        + b"x\n"
    )
    yield b"\x03" + HEADER + b'a,ant,w,yes,2.5,,2026-11-22T10:00:04Z\n"b,",ant,w,no,1,,2026'
    yield b"\x03" + HEADER[:10]


def check(data: bytes) -> None:
    """Read a state file."""
    number, data = choice(data, 4)
    readers = (check_ledger, check_fetches, check_search, check_votes)
    readers[number](data)


def check_ledger(data: bytes) -> None:
    shutil.rmtree(folder("ledger"))
    path = str(folder("ledger"))
    written("ledger/2026-11-30T07-00-00.000Z-000000.jsonl", data)
    try:
        unfinished = find_unfinished(path)
        if unfinished is not None:
            assert isinstance(unfinished.check, Check)
            commit_check(path, unfinished.check)
            assert set(read_checks(path)["url"].to_pylist()) >= unfinished.done or unfinished.parts == 0
    except DataError as error:
        check_error(error, path)


def check_fetches(data: bytes) -> None:
    path = written("fetches/00001-x.jsonl", data)
    written("fetches/00001-x.bodies", b"abc")
    try:
        rows = read_journal(str(folder("fetches")), "00001-x.jsonl")
    except DataError as error:
        check_error(error, path)
        return
    assert rows.schema.equals(RECORDED)
    rows.validate(full=True)
    assert len(set(latest(rows)["url"].to_pylist())) == latest(rows).num_rows


def check_search(data: bytes) -> None:
    """Continue a search whose pages are all in its journal; one that would have to ask the provider is left out."""
    output = folder("search") / "list.csv"
    output.unlink(missing_ok=True)
    path = written("search/list.csv.searching", data)
    client = ProviderClient(
        PROVIDERS["brave"]({"BRAVE_API_KEY": "x"}), "x@a.test", "http://127.0.0.1:1/", 0.0
    )
    try:
        client.page = lambda _parameters: (_ for _ in ()).throw(UsageError(f"{path}: has no more pages"))  # type: ignore[method-assign]
        retrieve(SEARCH, client, str(output), lambda _text: None)
    except (UsageError, DataError) as error:
        check_error(error, path)
    finally:
        client.close()


def check_votes(data: bytes) -> None:
    try:
        whole = repaired(data, "votes.csv")
    except DataError as error:
        check_error(error, "votes.csv")
        return
    assert whole.startswith(HEADER)
    assert whole.endswith(b"\n")
    assert whole.startswith(data[: data.rfind(b"\n") + 1])
    assert repaired(whole, "votes.csv") == whole
