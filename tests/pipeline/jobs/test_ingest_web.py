"""Ingest from a web server as a whole: killed, repeated, with a longer list; the server counts the requests."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import yaml

from pipeline.__main__ import main
from pipeline.shards import directory
from schemas.rejection import REJECTION
from schemas.retrieval import RETRIEVAL
from tests.pipeline.fetch.conftest import Web, web  # noqa: F401  fixture
from tests.pipeline.ingest.conftest import encoded, smooth  # noqa: F401  fixtures
from tests.pipeline.small_world import write_csv

IMAGES = 60


@pytest.fixture
def site(web: Web, smooth: Callable, encoded: Callable, tmp_path: Path) -> Path:  # noqa: F811
    """A list of images on a slow server, with some that are gone; the configuration file."""
    rows = []
    for i in range(IMAGES):
        data = encoded(smooth(i, 40, 30), "PNG")

        def answer(request: BaseHTTPRequestHandler, data: bytes = data) -> None:
            time.sleep(0.02)
            request.send_response(200)
            request.send_header("Content-Length", str(len(data)))
            request.end_headers()
            request.wfile.write(data)

        rows.append({"class_name": "ant", "url": web.raw(f"/{i}", answer)})
    rows += [{"class_name": "ant", "url": web.url(f"/gone-{i}")} for i in range(6)]
    write_csv(tmp_path / "web.csv", rows)
    config = {
        "source": str(tmp_path), "classes": ["ant", "bee"], "clean": [], "test": [], "web": ["web.csv"], "votes": [],
        "fetch": {
            "allow_private_hosts": True, "host_requests_per_second": 0, "host_concurrency": 2, "concurrency": 4,
        },
        "ingest": {"size": 16, "format": "png"},
    }  # fmt: skip
    (tmp_path / "build.yaml").write_text(yaml.safe_dump(config))
    return tmp_path / "build.yaml"


def arguments(site: Path, output: Path, *more: str) -> list[str]:
    return ["ingest", "--config", str(site), "--output", str(output), "--direct_num_workers=1", *more]


def tables(output: Path) -> dict[str, bytes]:
    folder = output / "ingest" / "images"
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def recorded(output: Path) -> set[str]:
    """Paths that a journal has a complete line of."""
    result = set()
    for log in (output / "fetch" / "bodies").glob("*.jsonl"):
        for line in log.read_bytes().split(b"\n")[:-1]:
            result.add("/" + json.loads(line)["url"].rsplit("/", 1)[1])
    return result


def test_a_killed_run_continues_without_repeated_requests(site: Path, web: Web, tmp_path: Path) -> None:  # noqa: F811
    assert main(arguments(site, tmp_path / "whole")) == 0
    assert Counter(web.asked) == Counter(dict.fromkeys(web.asked, 1))
    output, moments = tmp_path / "killed", random.Random(0)
    for _ in range(2):
        web.asked.clear()
        before = recorded(output)
        wanted = moments.randint(4, 20)
        running = subprocess.Popen(
            [sys.executable, "-m", "pipeline", *arguments(site, output)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        until = time.monotonic() + 60
        while len(web.asked) < wanted and running.poll() is None and time.monotonic() < until:
            time.sleep(0.002)
        os.kill(running.pid, signal.SIGKILL)
        running.communicate()
        assert len(web.asked) >= wanted
        assert not before & set(web.asked)
        # What was answered but not written down is at most what was under way.
        assert len(set(web.asked) - recorded(output)) <= 4
    web.asked.clear()
    before = recorded(output)
    assert main(arguments(site, output)) == 0
    assert not before & set(web.asked)
    assert tables(output) == tables(tmp_path / "whole")
    retrievals = directory.read_table(str(output / "ingest" / "retrievals"), RETRIEVAL)
    rejections = directory.read_table(str(output / "ingest" / "rejections"), REJECTION)
    assert (retrievals.num_rows, rejections.num_rows) == (IMAGES, 6)
    assert set(rejections["status"].to_pylist()) == {404}


def test_a_longer_list_fetches_new_urls_and_retry_fetches_failures(
    site: Path,
    web: Web,  # noqa: F811
    tmp_path: Path,
) -> None:
    output = tmp_path / "out"
    assert main(arguments(site, output)) == 0
    reported = json.loads((output / "metrics" / "fetch.json").read_text())["counters"]
    assert (reported["url.asked"], reported["url.failed"], reported["url.known"]) == (IMAGES + 6, 6, 0)
    web.asked.clear()
    with (tmp_path / "web.csv").open("a") as file:
        file.write(f"bee,{web.url('/new')}\n")
    web.serve("/new", b"<html>")
    assert main(arguments(site, output)) == 0
    assert web.asked == ["/new"]
    assert main(arguments(site, output)) == 0
    assert main(arguments(site, output, "--retry", "not_an_image,timeout")) == 0
    assert web.asked == ["/new", "/new"]
    web.asked.clear()
    assert main(arguments(site, output, "--retry=not_found")) == 0
    assert sorted(web.asked) == [f"/gone-{i}" for i in range(6)]
    rejections = directory.read_table(str(output / "ingest" / "rejections"), REJECTION)
    assert Counter(rejections["code"].to_pylist()) == {"not_an_image": 1, "not_found": 6}
    assert set(rejections["host"].to_pylist()) == {"127.0.0.1"}


def test_a_changed_fetch_key_fetches_failures_again(
    site: Path,
    web: Web,  # noqa: F811
    tmp_path: Path,
) -> None:
    output = tmp_path / "out"
    assert main(arguments(site, output)) == 0
    before, folders = tables(output), ("images", "retrievals")
    manifests = [(output / "ingest" / name / "_manifest.json").read_bytes() for name in folders]
    web.asked.clear()
    other = ["--set", "fetch.timeout_seconds=30"]
    assert main(arguments(site, output, *other)) == 0
    assert sorted(web.asked) == [f"/gone-{i}" for i in range(6)]
    assert tables(output) == before
    assert [(output / "ingest" / name / "_manifest.json").read_bytes() for name in folders] == manifests
    web.asked.clear()
    assert main(arguments(site, output, *other)) == 0
    assert not web.asked
    # A failure that is no longer one: later stages get another table.
    data = b"".join(path.read_bytes() for path in sorted((output / "fetch" / "bodies").glob("*.bodies")))
    web.serve("/gone-0", data[: data.index(b"IEND") + 8])
    assert main(arguments(site, output, "--set", "fetch.max_attempts=2")) == 0
    assert directory.read_manifest(str(output / "ingest" / "retrievals")).rows == IMAGES + 1


def test_an_unknown_code_cannot_be_retried(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(site, tmp_path / "out", "--retry", "time_out")) == 2
    assert "unknown rejection code 'time_out'; did you mean timeout?" in capsys.readouterr().err
