"""Journals: incomplete after a kill, damaged, rotated, and their use in the next run."""

import hashlib
import io
import json
from pathlib import Path
from typing import IO

import pyarrow as pa
import pytest

from common.errors import DataError
from pipeline.fetch import journal as journal_module
from pipeline.fetch.journal import RECORDED, Journal, latest, next_run, read_journal
from pipeline.fetch.url_fetcher import FetchedBody
from pipeline.rejections import Rejected, RequestStats
from schemas.fetched import FETCHED
from tests.pipeline.fetch.conftest import Get, Web, body, refused

HEADERS = dict.fromkeys(("final_url", "license", "x_robots_tag", "tdm_reservation", "tdm_policy"))


def opened(folder: Path, run: int = 1, rules: str = "") -> Journal:
    return Journal(str(folder), f"{run:06d}-task", rules)


def put(journal: Journal, url: str, data: bytes) -> dict:
    asked = RequestStats("h", 200, len(data), 0.5, 1)
    return journal.put(url, FetchedBody(io.BytesIO(data), asked, hashlib.sha256(data).hexdigest(), HEADERS))


def fail(journal: Journal, url: str, code: str) -> dict:
    return journal.put_failure(url, Rejected(code, f"{url}: {code}", RequestStats("h", 404, 0, 0.1, 1)))


def journals(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.jsonl"))


def known(folder: Path) -> dict[str, dict]:
    parts = [read_journal(str(folder), name) for name in journals(folder)]
    return {row["url"]: row for row in latest(pa.concat_tables([RECORDED.empty_table(), *parts])).to_pylist()}


def bodies(folder: Path) -> dict[str, bytes]:
    """The stored bodies of all URLs that have one."""
    actual = {}
    for url, row in known(folder).items():
        if row["offset"] is not None:
            data = (folder / row["body_file"]).read_bytes()
            actual[url] = data[row["offset"] : row["offset"] + row["length"]]
    return actual


def test_a_journal_returns_its_rows(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    rows = [put(journal, "u1", b"one"), fail(journal, "u2", "not_found"), put(journal, "u3", b"three")]
    journal.close()
    assert bodies(tmp_path) == {"u1": b"one", "u3": b"three"}
    read = read_journal(str(tmp_path), journals(tmp_path)[0])
    assert FETCHED.from_rows(rows) == read.select(FETCHED.schema.names).cast(FETCHED.schema)
    assert known(tmp_path)["u2"]["code"] == "not_found"
    assert journal.counts == {"url.asked": 3, "url.requests": 3, "url.bytes": 8, "url.failed": 1}


def test_run_numbers_rise() -> None:
    assert next_run([]) == 1
    assert next_run(["000002-a-b.jsonl", "000010-a-b.jsonl"]) == 11


@pytest.mark.parametrize("cut", [1, 20, 10_000])
def test_an_incomplete_last_line_is_skipped(tmp_path: Path, cut: int) -> None:
    journal = opened(tmp_path)
    put(journal, "u1", b"one")
    put(journal, "u2", b"two")  # no close: the files are as a kill leaves them
    (path,) = tmp_path.glob("*.jsonl")
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second[:-cut])
    assert bodies(tmp_path) == {"u1": b"one"}
    put(opened(tmp_path, run=2), "u2", b"two")
    assert bodies(tmp_path) == {"u1": b"one", "u2": b"two"}


def test_a_journal_without_a_complete_line_is_empty(tmp_path: Path) -> None:
    put(opened(tmp_path), "u1", b"one")
    (path,) = tmp_path.glob("*.jsonl")
    path.write_bytes(path.read_bytes()[:-1])
    assert known(tmp_path) == {}


def test_a_damaged_journal_is_an_error(tmp_path: Path) -> None:
    put(opened(tmp_path), "u1", b"one")
    (path,) = tmp_path.glob("*.jsonl")
    path.write_bytes(b'{"url": "u0", "sh' + path.read_bytes())
    with pytest.raises(DataError, match=rf"{path.name}: damaged journal .*; delete it"):
        known(tmp_path)


@pytest.mark.parametrize("line", [b"null", b"[]", b"1", b"", b" {}"])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_line_that_is_not_an_object_is_an_error(tmp_path: Path, line: bytes, is_first: bool) -> None:
    """Arrow ends the process where the first line is null."""
    put(opened(tmp_path), "u1", b"one")
    (path,) = tmp_path.glob("*.jsonl")
    lines = [line + b"\n", path.read_bytes()]
    path.write_bytes(b"".join(lines if is_first else lines[::-1]))
    with pytest.raises(DataError, match=rf"{path.name}: damaged journal .*; delete it"):
        known(tmp_path)


def test_a_line_longer_than_a_block_of_the_reader_is_read(tmp_path: Path) -> None:
    url = "http://x.test/" + "a" * 3_000_000  # more than Arrow reads at once
    fail(opened(tmp_path), url, "timeout")
    assert known(tmp_path).keys() == {url}


def test_a_journal_is_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrow's blocks have at most 2 GiB, a journal on one machine has no limit."""
    journal = opened(tmp_path)
    for i in range(50):
        put(journal, f"u{i}", b"%d" % i) if i % 2 else fail(journal, f"u{i}", "timeout")
    expected = read_journal(str(tmp_path), journals(tmp_path)[0])
    assert expected["url"].num_chunks == 1
    monkeypatch.setattr(journal_module, "BLOCK_BYTES", 1000)
    blocks = read_journal(str(tmp_path), journals(tmp_path)[0])
    assert blocks["url"].num_chunks > 5
    assert blocks == expected
    assert bodies(tmp_path) == {f"u{i}": b"%d" % i for i in range(1, 50, 2)}


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_truncated_body_has_no_offset(tmp_path: Path, damage: str) -> None:
    journal = opened(tmp_path)
    put(journal, "u1", b"one")
    put(journal, "u2", b"two")
    (path,) = tmp_path.glob("*.bodies")
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(b"onetw")
    assert bodies(tmp_path) == ({} if damage == "gone" else {"u1": b"one"})
    assert known(tmp_path)["u2"]["sha256"] == hashlib.sha256(b"two").hexdigest()


def test_the_last_success_counts_or_else_the_last_failure(tmp_path: Path) -> None:
    fail(opened(tmp_path, 1), "u", "timeout")
    fail(opened(tmp_path, 2), "u", "server_error")
    assert known(tmp_path)["u"]["code"] == "server_error"
    put(opened(tmp_path, 3), "u", b"old")
    put(opened(tmp_path, 4), "u", b"new")
    fail(opened(tmp_path, 5), "u", "timeout")
    assert bodies(tmp_path) == {"u": b"new"}


def test_the_order_in_which_journals_are_read_does_not_matter(tmp_path: Path) -> None:
    for run, data in enumerate((b"old", b"new"), 9):
        put(opened(tmp_path, run), "u", data)
    parts = [read_journal(str(tmp_path), name) for name in journals(tmp_path)]
    for order in (parts, parts[::-1]):
        (row,) = latest(pa.concat_tables(order)).to_pylist()
        assert row["body_file"].startswith("000010-")


def test_the_same_bytes_are_stored_once(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    for url in ("u1", "u2", "u3"):
        put(journal, url, b"same" if url != "u3" else b"other")
    (path,) = tmp_path.glob("*.bodies")
    assert path.read_bytes() == b"sameother"
    assert bodies(tmp_path) == {"u1": b"same", "u2": b"same", "u3": b"other"}


def test_files_on_object_stores_are_rotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There a file is visible when it is closed, so its size bounds what a kill may lose."""
    begun: list[IO[bytes]] = []

    def open_append(path: str) -> IO[bytes]:
        begun.append((tmp_path / path.rpartition("/")[2]).open("wb"))
        return begun[-1]

    monkeypatch.setattr(journal_module, "ROTATE_BYTES", 100)
    monkeypatch.setattr(journal_module.files, "open_append", open_append)
    monkeypatch.setattr(journal_module.files, "join", lambda *parts: "/".join(parts))
    journal = Journal("gs://bucket/fetched", "000001-task", "")
    expected = {f"u{i}": bytes([i]) * 40 for i in range(7)}
    for url, data in expected.items():
        put(journal, url, data)
    assert [file.closed for file in begun] == [True] * 4 + [False] * 2  # two files each
    whole = [Path(file.name) for file in begun if file.closed and file.name.endswith(".jsonl")]
    assert [len(path.read_bytes().splitlines()) for path in whole] == [3, 3]
    journal.close()
    monkeypatch.undo()
    assert bodies(tmp_path) == expected


# What a task makes of its journals


def test_a_recorded_url_is_not_requested_again(get: Get, web: Web) -> None:
    url, gone = web.serve("/a", b"x"), web.url("/gone")
    for _ in range(2):
        assert body(get(url)) == b"x"
        assert refused(get(gone)).code == "not_found"
    assert web.asked == ["/a", "/gone"]
    assert refused(get(gone, retry=("timeout",))).code == "not_found"
    assert web.asked == ["/a", "/gone"]
    web.serve("/gone", b"back")
    assert body(get(gone, retry=("not_found",))) == b"back"
    assert body(get(gone)) == b"back"
    assert web.asked == ["/a", "/gone", "/gone"]


def test_a_changed_fetch_key_repeats_failures_and_keeps_successes(get: Get, web: Web) -> None:
    url, gone = web.serve("/a", b"x"), web.url("/gone")
    get.all([url, gone])
    get.all([url, gone], timeout_seconds=7)
    assert web.asked.count("/a") == 1
    assert web.asked.count("/gone") == 2


@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_a_damaged_body_is_fetched_again(get: Get, web: Web, damage: str) -> None:
    urls = [web.serve("/a", b"one"), web.serve("/b", b"two")]
    get.all(urls)
    (path,) = get.folder.glob("*.bodies")
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + (b"" if damage == "cut" else b"X"))
    assert [body(result) for result in get.all(urls)] == [b"one", b"two"]
    assert len(web.asked) == (4 if damage == "gone" else 3)


def test_changed_content_is_rejected_unless_retried(get: Get, web: Web) -> None:
    url = web.serve("/a", b"old")
    assert body(get(url)) == b"old"
    for path in get.folder.glob("*.bodies"):
        path.unlink()
    web.serve("/a", b"new")
    assert refused(get(url)).code == "content_changed"
    assert body(get(url, retry=("content_changed",))) == b"new"
    assert body(get(url)) == b"new"


def test_content_is_checked_when_other_codes_are_retried(get: Get, web: Web) -> None:
    url = web.serve("/a", b"old")
    get(url)
    for path in get.folder.glob("*.bodies"):
        path.unlink()
    web.serve("/a", b"new")
    assert refused(get(url, retry=("timeout",))).code == "content_changed"


def test_changed_content_is_accepted_only_where_it_was_rejected(get: Get, web: Web) -> None:
    """A second URL whose body is lost in the same run has not been reported yet."""
    urls = [web.serve("/a", b"old"), web.serve("/b", b"old")]
    get.all(urls)
    for path in get.folder.glob("*.bodies"):
        path.unlink()
    web.serve("/a", b"new")
    web.serve("/b", b"new")
    assert refused(get(urls[0])).code == "content_changed"
    accepted, rejected = get.all(urls, retry=("content_changed",))
    assert body(accepted) == b"new"
    assert refused(rejected).code == "content_changed"
    assert [body(result) for result in get.all(urls, retry=("content_changed",))] == [b"new", b"new"]


def test_a_url_can_be_fetched_again_explicitly(get: Get, web: Web) -> None:
    url = web.serve("/a", b"old")
    get(url)
    web.serve("/a", b"new")
    assert body(get(url, again=True, retry=("not_an_image",))) == b"new"


def test_an_earlier_attempt_at_the_same_task_is_not_repeated(get: Get, web: Web) -> None:
    """An engine may run a task again in the same run, whose list of journals was made before it."""
    url = web.serve("/a", b"x")
    get(url)
    (path,) = get.folder.glob("*.jsonl")
    names = path.name.split("-")
    for file in list(get.folder.iterdir()):
        file.rename(get.folder / "-".join(["000002", *names[1:-1], f"x{file.suffix}"]))
    (get.folder / f"000001-{names[1]}-y.jsonl").write_bytes(b"")
    assert json.loads((get.folder / f"000002-{names[1]}-x.jsonl").read_bytes())["url"] == url
    assert body(get(url)) == b"x"
    assert web.asked == ["/a"]


def test_headers_about_use_are_recorded(get: Get, web: Web) -> None:
    link = '<https://creativecommons.org/licenses/by/4.0/>; rel="license"'
    reported = {"X_Robots_Tag": "nofollow", "TDM_Reservation": "0", "TDM_Policy": "https://x.test/policy"}
    web.serve("/end", b"x", Link=link, **reported)
    odd = web.serve("/odd", b"x", Link="<<;;,rel=license")
    (row, other) = (
        get.rows([web.redirect("/start", "/end"), odd]).sort_by([("url", "descending")]).to_pylist()
    )
    assert row["license"] == "https://creativecommons.org/licenses/by/4.0/"
    assert (row["x_robots_tag"], row["tdm_reservation"]) == ("nofollow", "0")
    assert row["tdm_policy"] == "https://x.test/policy"
    assert row["final_url"] == web.url("/end")
    assert (other["license"], other["final_url"], other["code"]) == (None, None, None)
