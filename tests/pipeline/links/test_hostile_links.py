"""Kills, damaged ledgers, two checks at once, and hosts and lists that mean harm."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from pipeline.__main__ import main
from pipeline.links import journal
from pipeline.links.ledger import Check as CheckHead
from pipeline.links.ledger import find_unfinished, lines_path, now, read_checks
from pipeline.links.links import digest_of, read_links
from schemas.link_check import LINK_CHECK
from tests.pipeline.fetch.conftest import Request, as_public  # noqa: F401  a fixture
from tests.pipeline.links.conftest import Check, Site, png


def command(site: Site) -> list[str]:
    flags = ["--config", str(site.folder / "build.yaml"), "--ledger", str(site.ledger)]
    return ["check-links", str(site.list), *flags]


def slow_images(site: Site, count: int) -> None:
    site.publish({f"image{i}": "ant" for i in range(count)})
    for path, answer in list(site.web.answers.items()):

        def slowly(request: Request, answer=answer) -> None:
            time.sleep(0.1)
            answer(request)

        site.web.answers[path] = slowly


def lines_written(site: Site) -> int:
    return sum(path.read_bytes().count(b"\n") - 1 for path in site.ledger.glob("*.jsonl"))


def test_a_check_that_was_killed_while_it_wrote_its_file_is_in_nobodys_way(site: Site, check: Check) -> None:
    """`report` and `publish` read the ledger, too, and do not continue the check."""
    site.publish({"image0": "ant"})
    check()
    (path,) = site.ledger.glob("*.parquet")
    (site.ledger / f".writing-0123456789abcdef-{path.name}").write_bytes(path.read_bytes()[:-9])
    assert read_checks(str(site.ledger)).num_rows == 1
    check()
    assert len([*site.ledger.glob("*.parquet")]) == 2
    assert not [*site.ledger.glob(".writing-*")]


def test_a_killed_check_continues_without_repeated_requests(site: Site, check: Check) -> None:
    slow_images(site, 60)
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", *command(site)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while lines_written(site) < 10:
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    recorded = lines_written(site)
    (left,) = site.ledger.glob("*.jsonl")
    with left.open("ab") as file:
        file.write(b'{"url": "http://x/')  # a line that the kill cut
    assert not list(site.ledger.glob("*.parquet"))
    time.sleep(0.3)  # requests that the killed process has sent
    asked = list(site.web.asked)
    check()
    again = site.web.asked[len(asked) :]
    assert len(again) == 60 - recorded
    assert max(Counter(site.web.asked).values()) <= 2
    assert len(site.rows()) == 60
    assert set(site.outcomes().values()) == {"same"}
    assert not list(site.ledger.glob("*.jsonl"))


def interrupted(site: Site, hours: float = 0.0, urls: str = "") -> CheckHead:
    """Leave a check that was stopped after its first URL, some hours ago."""
    check_links_once(site)
    (done,) = site.ledger.glob("*.parquet")
    row = parquet.read_table(done).slice(0, 1).to_pylist()[0]
    done.unlink()
    started = now() - timedelta(hours=hours)
    digest = urls or digest_of_list(site)
    head = CheckHead(started, 3, digest)
    kept = {name: value for name, value in row.items() if name not in ("started_at", "urls")}
    kept["checked_at"] = started.isoformat(timespec="milliseconds")
    text = "".join(json.dumps(each) + "\n" for each in (head.head, kept))
    Path(lines_path(str(site.ledger), head, 0)).write_text(text)
    return head


def digest_of_list(site: Site) -> str:
    return digest_of(read_links(str(site.list)))


def check_links_once(site: Site) -> None:
    assert main([*command(site), "--json"]) == 0


def test_a_check_stopped_today_is_continued(
    site: Site, check: Check, capsys: pytest.CaptureFixture[str]
) -> None:
    site.publish({"a": "ant", "b": "ant", "c": "ant"})
    interrupted(site, hours=2)
    site.web.asked.clear()
    assert main(command(site)) == 0
    assert "continuing the check" in capsys.readouterr().out
    assert sorted(site.web.asked) == ["/b.png", "/c.png"]
    assert len(read_checks(str(site.ledger))) == 3


@pytest.mark.parametrize(("hours", "urls"), [(30, ""), (2, "other")])
def test_a_check_stopped_earlier_or_of_other_urls_stays_and_a_new_one_starts(
    site: Site, capsys: pytest.CaptureFixture[str], hours: float, urls: str
) -> None:
    site.publish({"a": "ant", "b": "ant", "c": "ant"})
    interrupted(site, hours, urls)
    site.web.asked.clear()
    assert main(command(site)) == 0
    assert sorted(site.web.asked) == ["/a.png", "/b.png", "/c.png"]
    out = capsys.readouterr().out
    assert "stopped after 1 of 3 URLs stays in the ledger as it is" in out
    assert "1 of 3 (stopped)" in out
    assert (len(site.rows(0)), len(site.rows(1))) == (1, 3)


def test_lines_of_a_committed_check_are_removed(site: Site, check: Check) -> None:
    """A kill between the Parquet file and the removal of its lines."""
    site.publish({"a": "ant"})
    check()
    (done,) = site.ledger.glob("*.parquet")
    started = read_checks(str(site.ledger))["started_at"][0].as_py()
    head = CheckHead(started, 1, digest_of_list(site))
    assert done.stem == head.name
    Path(lines_path(str(site.ledger), head, 0)).write_text(json.dumps(head.head) + "\n")
    assert find_unfinished(str(site.ledger)) is None
    assert list(site.ledger.glob("*.jsonl")) == []


@pytest.mark.parametrize(
    "damage",
    [
        b"{}\n",
        b"[]\n",
        b"\xff\xfe\n",
        b'{"checked_at": 5, "url": "u"}\n',
        b"null\n",
        b'{"checked_at": "2026-11-30", "url": ["u"], "outcome": "same"}\n',
        b'{"started_at": "2026-11-30", "urls": "x", "digest": "d"}\n',
        b"[" * 20_000 + b"\n",
    ],
)
def test_damaged_lines_are_named(site: Site, capsys: pytest.CaptureFixture[str], damage: bytes) -> None:
    site.publish({"a": "ant", "b": "ant", "c": "ant"})
    head = interrupted(site)
    path = Path(lines_path(str(site.ledger), head, 0))
    path.write_bytes(path.read_bytes() + damage)
    assert main(command(site)) == 1
    assert f"{path}, line 3: damaged" in capsys.readouterr().err


def test_lines_of_another_check_are_named(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """Its URLs would not be checked again, and their outcomes would not be in the ledger."""
    site.publish({"a": "ant", "b": "ant", "c": "ant"})
    path = Path(lines_path(str(site.ledger), interrupted(site), 0))
    head, rest = path.read_text().partition("\n")[::2]
    started = json.loads(head)["started_at"]
    path.write_text(head.replace(started, f"2{int(started[1]) + 1}{started[2:]}") + "\n" + rest)
    assert main(command(site)) == 1
    assert f"{path}: damaged (its first line is of another check)" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [{"image_ids": 3}, {"not_modified": None}])
def test_a_value_of_a_wrong_type_is_named(
    site: Site, capsys: pytest.CaptureFixture[str], wrong: dict[str, object]
) -> None:
    site.publish({"a": "ant", "b": "ant", "c": "ant"})
    path = Path(lines_path(str(site.ledger), interrupted(site), 0))
    row = {
        "checked_at": "2026-11-30T00:00:00+00:00", "url": "u", "outcome": "same", "image_ids": ["a"], "class_names": ["ant"],
        "not_modified": False,
    }  # fmt: skip
    path.write_bytes(path.read_bytes() + json.dumps({**row, **wrong}).encode() + b"\n")
    assert main(command(site)) == 1
    assert "a value is missing or has a wrong type" in capsys.readouterr().err


def test_a_damaged_check_is_named(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.publish({"a": "ant"})
    site.ledger.mkdir()
    (site.ledger / "2026-01-01T00-00-00.000Z.parquet").write_bytes(b"PAR1 no more")
    assert main(command(site)) == 1
    assert "2026-01-01T00-00-00.000Z.parquet: cannot be read" in capsys.readouterr().err
    text = pa.array([b"\xff\xfe"], pa.binary()).view(pa.string())
    columns = [text if field.type == pa.string() else pa.nulls(1, field.type) for field in LINK_CHECK.schema]
    check = pa.table(columns, [field.name for field in LINK_CHECK.schema])
    parquet.write_table(check, site.ledger / "2026-01-01T00-00-00.000Z.parquet")
    assert main(command(site)) == 1
    assert "2026-01-01T00-00-00.000Z.parquet: cannot be read" in capsys.readouterr().err
    parquet.write_table(pa.table({"url": ["u"]}), site.ledger / "2026-01-01T00-00-00.000Z.parquet")
    assert main(command(site)) == 1


def test_two_checks_do_not_write_to_one_ledger(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.publish({"a": "ant"})
    site.ledger.mkdir()
    holder = "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print(1, flush=True); time.sleep(60)"
    process = subprocess.Popen(
        [sys.executable, "-c", holder, str(site.ledger / ".lock")], stdout=subprocess.PIPE
    )
    assert process.stdout
    process.stdout.readline()
    try:
        assert main(command(site)) == 2
        assert (
            "another check-links is running in this folder; wait until it ends, or choose another --ledger"
            in capsys.readouterr().err
        )
        assert site.web.asked == []
    finally:
        process.kill()
        process.wait()


@pytest.mark.usefixtures("as_public")
def test_a_redirect_to_a_private_address_is_not_followed(site: Site, check: Check) -> None:
    site.publish({"a": "ant", "metadata": "ant"})
    site.web.redirect("/a.png", "http://10.0.0.1/secret")
    site.web.redirect("/metadata.png", "http://169.254.169.254/latest/meta-data/")
    check("--set=fetch.allow_private_hosts=false")
    assert site.outcomes() == {"a": "unreachable", "metadata": "unreachable"}
    assert {row["code"] for row in site.rows().values()} == {"private_address"}


def test_a_huge_body_is_not_read_to_its_end(site: Site, check: Check) -> None:
    site.publish({"a": "ant"})

    def endless(request: Request) -> None:
        request.send_response(200)
        request.end_headers()
        for _ in range(10_000):
            request.wfile.write(bytes(1 << 20))

    site.web.raw("/a.png", endless)
    check("--set=ingest.max_bytes=100000")
    assert site.outcomes() == {"a": "changed"}
    assert site.rows()["a"]["code"] == "too_large"


def test_a_fault_in_the_parser_of_a_format_does_not_end_the_check(
    site: Site, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: bytes) -> None:
        raise ValueError("a fault")

    site.publish({"a": "ant"}, digests=False)
    monkeypatch.setattr(journal, "open_container", fail)
    check()
    assert site.outcomes() == {"a": "first"}


def test_a_slow_host_does_not_hold_up_the_check(site: Site, check: Check) -> None:
    site.publish({"a": "ant", "b": "ant"})

    def drips(request: Request) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "1000")
        request.end_headers()
        for _ in range(1000):
            request.wfile.write(b"x")
            time.sleep(0.1)

    site.web.raw("/a.png", drips)
    check("--set=fetch.deadline_seconds=0.5")
    assert site.outcomes() == {"a": "unreachable", "b": "same"}
    assert site.rows()["a"]["code"] == "timeout"


ETAGS = ['"a\\"b"', '"' + "x" * 300 + '"', "unquoted", '"a b"', '"\xe4"', 'W/"a"', '""', '"a", "b"']


@pytest.mark.parametrize("etag", ETAGS)
def test_unusual_etags_are_not_sent_back(site: Site, check: Check, etag: str) -> None:
    site.publish({"a": "ant"})
    site.web.serve("/a.png", png("a"), ETag=etag)
    check()
    check()
    assert site.outcomes() == {"a": "same"}
    assert ["If-None-Match" in headers for headers in site.web.headers] == [False, False]


IDS = ["=1+1|calc", "\U0001f41c\u0301", 'a,b"c', "x" * 150, "<script>alert(1)<script>"]


def test_ids_and_classes_of_any_text_are_kept(site: Site, check: Check) -> None:
    url = site.web.serve("/a.png?x=<b>&y='", png("a"))
    with site.list.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_id", "class_name", "url"])
        writer.writerows([image_id, f"class {image_id}", url] for image_id in IDS)
        writer.writerow(["../../etc/passwd", "ant", url])
        writer.writerow(["id", "ant", "javascript:alert(1)"])
    result = check()
    (row,) = [row for row in site.rows().values() if row["url"] == url]
    assert row["image_ids"] == IDS
    assert row["class_names"] == [f"class {image_id}" for image_id in IDS]
    assert result["rejections"] == {"bad_id": 1}
    assert site.outcomes()["javascript:alert(1)"] == "gone"
    assert sorted(path.suffix for path in site.ledger.iterdir()) == ["", ".parquet"]


def test_an_unreachable_network_is_pointed_out(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.list.write_text("image_id,class_name,url\na,ant,http://127.0.0.1:1/a\n")
    assert main([*command(site), "--set=fetch.max_attempts=1"]) == 0
    assert "note: no URL could be reached; if this machine was offline, delete" in capsys.readouterr().out
