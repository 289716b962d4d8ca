"""The store of what was fetched: logs that a kill has torn, files that are full, and what is used again."""

import hashlib
import io
from pathlib import Path
from typing import IO

import pytest

from pipeline.config import IngestConfig
from pipeline.ingest import store as store_module
from pipeline.ingest.store import Entry, Store, begin_run
from pipeline.rejections import Asked, Rejected
from schemas.errors import DataError

CONFIG = IngestConfig(contact="test@example.org")


def opened(folder: Path, *urls: str, config: IngestConfig = CONFIG) -> Store:
    """The store as a task of the next run sees it."""
    return Store(str(folder), begin_run(str(folder)), urls, config)


def put(store: Store, url: str, data: bytes) -> None:
    store.put(url, io.BytesIO(data), hashlib.sha256(data).hexdigest(), Asked("h", 200, len(data), 0.5, 1))


def kept(folder: Path, *urls: str) -> dict[str, bytes]:
    """The bodies that the next run finds of some URLs."""
    store = opened(folder, *urls)
    return dict(store.bodies([url for url in urls if store.keeps(url)]))


def logs(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jsonl"))


def test_what_was_put_is_found_by_the_next_run(tmp_path):
    store = opened(tmp_path)
    put(store, "u1", b"one")
    store.put_rejected("u2", Rejected("not_found", "u2: HTTP 404", Asked("h", 404, 0, 0.1, 1)))
    store.close()
    store = opened(tmp_path, "u1", "u2", "u3")
    assert store.known.keys() == {"u1", "u2"}
    assert dict(store.bodies(["u1"])) == {"u1": b"one"}
    assert (store.keeps("u1"), store.keeps("u2"), store.keeps("u3")) == (True, False, False)
    entry: Entry = store.known["u2"]
    assert entry.rejected
    assert (entry.rejected.code, entry.asked.status) == ("not_found", 404)


@pytest.mark.parametrize("cut", [1, 20, 10_000])
def test_a_line_that_a_kill_has_torn_is_passed_over(tmp_path, cut):
    store = opened(tmp_path)
    put(store, "u1", b"one")
    put(store, "u2", b"two")  # no close: the files are as a kill leaves them
    (log,) = logs(tmp_path)
    first, second = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(first + second[:-cut])
    assert kept(tmp_path, "u1", "u2") == {"u1": b"one"}
    store = opened(tmp_path, "u2")
    put(store, "u2", b"two")
    assert kept(tmp_path, "u1", "u2") == {"u1": b"one", "u2": b"two"}


def test_a_log_with_no_whole_line_says_nothing(tmp_path):
    put(opened(tmp_path), "u1", b"one")
    (log,) = logs(tmp_path)
    log.write_bytes(log.read_bytes()[:-1])
    assert kept(tmp_path, "u1") == {}
    assert begin_run(str(tmp_path)) == 2


def test_a_log_that_is_damaged_within_is_named(tmp_path):
    put(opened(tmp_path), "u1", b"one")
    (log,) = logs(tmp_path)
    log.write_bytes(b'{"url": "u0", "sh' + log.read_bytes())
    with pytest.raises(DataError, match=rf"{log.name}: damaged .* remove it"):
        begin_run(str(tmp_path))


def test_a_url_without_end_is_remembered_too(tmp_path):
    url = "http://x.test/" + "a" * 3_000_000  # more than Arrow reads at once
    store = opened(tmp_path)
    store.put_rejected(url, Rejected("timeout", "", Asked("x.test")))
    store.close()
    assert opened(tmp_path, url).known.keys() == {url}


def test_a_body_that_no_line_speaks_of_is_not_known(tmp_path):
    put(opened(tmp_path), "u1", b"one")
    (bodies,) = tmp_path.glob("*.bodies")
    with bodies.open("ab") as file:
        file.write(b"half a bo")  # killed before the line was written
    assert kept(tmp_path, "u1", "u2") == {"u1": b"one"}


@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_bodies_that_are_not_what_they_were_are_left_out(tmp_path, damage):
    store = opened(tmp_path)
    put(store, "u1", b"one")
    put(store, "u2", b"two")
    (bodies,) = tmp_path.glob("*.bodies")
    if damage == "gone":
        bodies.unlink()
    else:
        bodies.write_bytes(b"onetw" if damage == "cut" else b"onetwO")
    assert kept(tmp_path, "u1", "u2") == ({} if damage == "gone" else {"u1": b"one"})


def test_the_last_success_is_known_and_else_the_last_failure(tmp_path):
    def failed(store: Store, code: str) -> None:
        store.put_rejected("u", Rejected(code, "", Asked("h")))

    for code in ("timeout", "server_error"):
        failed(opened(tmp_path), code)
    found = opened(tmp_path, "u").known["u"].rejected
    assert found
    assert found.code == "server_error"
    put(opened(tmp_path), "u", b"old")
    put(opened(tmp_path), "u", b"new")
    failed(opened(tmp_path), "timeout")
    assert kept(tmp_path, "u") == {"u": b"new"}


def test_a_failure_is_asked_again_under_other_rules_and_a_success_is_not(tmp_path):
    store = opened(tmp_path)
    put(store, "u1", b"one")
    store.put_rejected("u2", Rejected("timeout", "", Asked("h")))
    patient = IngestConfig(contact="test@example.org", timeout_seconds=99)
    assert opened(tmp_path, "u1", "u2", config=patient).known.keys() == {"u1"}
    smaller = IngestConfig(contact="test@example.org", size=16)
    assert opened(tmp_path, "u1", "u2", config=smaller).known.keys() == {"u1", "u2"}


def test_the_same_bytes_are_kept_once(tmp_path):
    store = opened(tmp_path)
    for url in ("u1", "u2", "u3"):
        put(store, url, b"same" if url != "u3" else b"other")
    (bodies,) = tmp_path.glob("*.bodies")
    assert bodies.read_bytes() == b"sameother"
    assert kept(tmp_path, "u1", "u2", "u3") == {"u1": b"same", "u2": b"same", "u3": b"other"}


def test_without_bodies_digests_are_known(tmp_path):
    store = opened(tmp_path, config=IngestConfig(contact="test@example.org", keep_fetched=False))
    put(store, "u1", b"one")
    store = opened(tmp_path, "u1")
    assert not list(tmp_path.glob("*.bodies"))
    assert not store.keeps("u1")
    assert store.known["u1"].sha256 == hashlib.sha256(b"one").hexdigest()


def test_on_an_object_store_full_files_are_closed_and_new_ones_begun(tmp_path, monkeypatch):
    """There a file is seen when it is closed, so its size bounds what a kill may lose."""
    begun: list[IO[bytes]] = []

    def open_append(path: str) -> IO[bytes]:
        begun.append((tmp_path / path.rpartition("/")[2]).open("wb"))
        return begun[-1]

    monkeypatch.setattr(store_module, "REMOTE_BYTES", 100)
    monkeypatch.setattr(store_module.files, "open_append", open_append)
    monkeypatch.setattr(store_module.files, "join", lambda *parts: "/".join(parts))  # no bucket is here
    store = Store("gs://bucket/fetched", 1, [], CONFIG)
    bodies = {f"u{i}": bytes([i]) * 40 for i in range(7)}
    for url, data in bodies.items():
        put(store, url, data)
    assert [file.closed for file in begun] == [True] * 4 + [False] * 2  # a log and bodies each
    whole = [Path(file.name) for file in begun if file.closed and file.name.endswith(".jsonl")]
    assert [len(log.read_bytes().splitlines()) for log in whole] == [3, 3]
    store.close()
    monkeypatch.undo()
    assert kept(tmp_path, *bodies) == bodies
