"""Groups and shares of hosts, and redirects between them."""

import dataclasses
import hashlib
import math
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import DataError
from pipeline.config import FetchConfig
from pipeline.fetch.fetch_all import url_host_key
from pipeline.fetch.fetch_task import FIRST, LAST, OTHER, REQUESTS, WANTED, Position, RunTerms, run_task
from pipeline.fetch.host_groups import TASK_RATE, group_count, groups_of, share_count
from pipeline.fetch.host_limits import HostLimits
from tests.pipeline.fetch.conftest import FETCHING, Request, Web


def test_the_spelling_of_a_host_does_not_change_its_group() -> None:
    same = [
        "http://images.example/a",
        "https://IMAGES.example:8443/b",
        "http://images.example./c",
        "http://u:p@images.example/",
    ]
    assert {url_host_key(url) for url in same} == {"images.example"}
    assert url_host_key("http://bücher.example/") == url_host_key("http://xn--bcher-kva.example/")
    assert url_host_key("http://www.images.example/a") != "images.example"
    assert url_host_key("http://[2001:db8::1]:80/") == url_host_key("http://[2001:DB8::1]/")
    assert url_host_key("no url") == url_host_key("ftp://x/") == ""


@given(st.integers(1, 1000), st.integers(0, 500), st.integers(1, 64))
def test_shares_together_keep_the_limits_of_the_host(urls: int, rate: int, fetches: int) -> None:
    config = FetchConfig(host_requests_per_second=rate, host_concurrency=fetches)
    for count in {1, share_count(urls * 1000, config), share_count(urls * 1000, config, crawl_delay=0.5)}:
        shares = [HostLimits.from_config(config, index, count) for index in range(count)]
        assert sum(share.concurrency for share in shares) == fetches
        assert all(share.concurrency >= 1 for share in shares)
        if rate:
            assert sum(1 / share.interval for share in shares) == pytest.approx(rate)


def test_a_host_is_cut_only_if_one_task_is_too_slow_for_its_limits() -> None:
    assert share_count(10_000_000, FetchConfig()) == 1  # 10 requests a second are nothing
    fast = FetchConfig(host_requests_per_second=4 * TASK_RATE, host_concurrency=64)
    assert share_count(1_000_000, fast) == 4
    assert share_count(15_000, fast) == 2
    assert share_count(1_000_000, fast, crawl_delay=1) == 1
    assert share_count(1_000_000, FetchConfig(host_requests_per_second=0, host_concurrency=3)) == 3


def test_groups_are_a_power_of_two_that_grows_with_the_urls_up_to_a_limit() -> None:
    counts = [group_count(n) for n in (0, 1, 2_000, 2_001, 100_000, 10**9)]
    assert counts == [1, 1, 1, 2, 64, 256]
    assert all(math.log2(count).is_integer() for count in counts)
    result = Counter(groups_of([f"host-{i}.example" for i in range(64_000)], 64))
    assert len(result) == 64
    assert max(result.values()) < 1.2 * 1000


def terms(folder: Path, groups: int, **more: object) -> RunTerms:
    config = FetchConfig(**(FETCHING | {"max_attempts": 2} | more))  # type: ignore[arg-type]
    return RunTerms(config, 1000, str(folder), 1, "", groups, cut_hosts=True)


def wanted(*urls: str) -> dict[str, list[pa.Table]]:
    return {"wanted": [pa.table([list(urls), [False] * len(urls)], schema=WANTED)]}


def work(key: tuple, parts: dict[str, list[pa.Table]], given_: RunTerms, position: Position = FIRST):
    results = run_task(key, parts, given_, position, lambda _: None)
    return pa.concat_tables([*results.rows]).to_pylist() if results.rows else [], [
        *results.shares,
        *results.redirects,
    ]


def test_a_redirect_to_a_host_of_another_group_is_left_to_it(
    web: Web, names: dict[str, list[str]], tmp_path: Path
) -> None:
    port = web.address.rsplit(":", 1)[1]
    (here,), (there,) = groups_of(["127.0.0.1"], 256), groups_of(["other.test"], 256)
    assert here != there
    names["other.test"] = ["127.0.0.1"]
    web.serve("/end", b"picture")
    url = web.redirect("/start", web.url("/next"))
    web.redirect("/next", f"http://other.test:{port}/end")
    rows, later = work((here, "", 0, 1), wanted(url), given_ := terms(tmp_path, 256))
    assert rows == []
    ((key, kind, table),) = later
    assert (key, kind) == ((there, "", 0, 1), "requests")
    assert web.asked == ["/start", "/next"]
    (row,), later = work(key, {"requests": [table]}, given_, OTHER)
    assert later == []
    assert web.asked == ["/start", "/next", "/end"]
    assert (row["url"], row["code"], row["host"], row["attempts"]) == (url, None, "127.0.0.1", 1)
    assert row["final_url"] == f"http://other.test:{port}/end"


@pytest.mark.parametrize("lost", ["bodies", "rules"])
def test_a_second_attempt_uses_only_outcomes_that_hold(web: Web, tmp_path: Path, lost: str) -> None:
    """An upload to an object store can fail for the bodies alone; a canceled job can have had other rules."""
    given_ = terms(tmp_path, 1)
    url, gone = web.serve("/a", b"picture"), web.url("/gone")
    requests = {
        "requests": [pa.Table.from_pylist([{"url": each, "hops": 0} for each in (url, gone)], REQUESTS)]
    }
    first, _ = work((0, "", 0, 1), requests, given_, OTHER)
    if lost == "bodies":
        (path,) = tmp_path.glob("*.bodies")
        path.unlink()
    else:
        given_ = dataclasses.replace(given_, rules="other")
    second, _ = work((0, "", 0, 1), requests, given_, OTHER)
    assert [sorted((row["url"], row["code"], row["sha256"]) for row in rows) for rows in (first, second)] == [
        [(url, None, hashlib.sha256(b"picture").hexdigest()), (gone, "not_found", None)]
    ] * 2
    for row in second:
        stored = row["body_file"] and (tmp_path / row["body_file"]).read_bytes()
        assert stored == (b"picture" if row["url"] == url else None)
    assert sorted(web.asked[:2]) == ["/a", "/gone"]  # requested at the same time
    assert web.asked[2:] == ["/a" if lost == "bodies" else "/gone"]


def test_redirects_between_groups_have_the_same_limit_as_others(
    web: Web, names: dict[str, list[str]], tmp_path: Path
) -> None:
    port = web.address.rsplit(":", 1)[1]
    names["other.test"] = ["127.0.0.1"]
    for i in range(7):
        web.redirect(f"/{i}", f"http://{'other.test' if i % 2 == 0 else '127.0.0.1'}:{port}/{i + 1}")
    given_ = terms(tmp_path, 256)
    key, parts = (groups_of(["127.0.0.1"], 256)[0], "", 0, 1), wanted(web.url("/0"))
    rows: list[dict] = []
    while not rows:
        rows, later = work(key, parts, given_)
        if later:
            ((key, _, table),) = later
            parts = {"requests": [table]}
    assert [row["code"] for row in rows] == ["too_many_redirects"]
    assert web.asked == [f"/{i}" for i in range(6)]
    rows, later = work((0, "", 0, 1), wanted(web.url("/0")), terms(tmp_path / "last", 256), position=LAST)
    assert [row["code"] for row in rows] == ["too_many_redirects"]
    assert not later


def test_a_large_host_is_cut_and_its_policies_are_requested_once(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.fetch import host_groups

    monkeypatch.setattr(host_groups, "URLS_PER_SHARE", 5)
    policies = []

    def robots(request: Request) -> None:
        policies.append(request.path)
        request.send_response(200)
        request.end_headers()
        request.wfile.write(b"User-agent: *\nDisallow: /no\n")

    web.raw("/robots.txt", robots)
    urls = [web.serve(f"/{i}", b"%d" % i) for i in range(14)] + [web.serve("/no", b"x")]
    given_ = terms(tmp_path, 1)
    rows, later = work((0, "", 0, 1), wanted(*urls), given_)
    assert (rows, web.asked) == ([], [])
    keys = sorted({key for key, _, _ in later})
    assert keys == [(0, "127.0.0.1", index, 3) for index in range(3)]
    result = []
    for key in keys:
        parts: dict[str, list[pa.Table]] = {}
        for other, kind, table in later:
            if other == key:
                parts.setdefault(kind, []).append(table)
        rows, more = work(key, parts, given_, OTHER)
        assert not more
        result += rows
    assert {row["url"]: row["code"] for row in result} == {
        url: "robots_disallowed" if url.endswith("/no") else None for url in urls
    }
    assert sorted(web.asked) == sorted(f"/{i}" for i in range(14))
    assert policies == ["/robots.txt"]


@pytest.mark.usefixtures("as_public")
def test_no_policy_file_is_requested_without_a_contact_address(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.fetch import host_groups

    monkeypatch.setattr(host_groups, "URLS_PER_SHARE", 1)
    policies: list[str] = []
    web.raw("/robots.txt", lambda request: policies.append(request.path))
    config = terms(tmp_path, 1, contact="", allow_private_hosts=False)
    with pytest.raises(DataError, match=r"fetch\.contact is empty; set it to a mail address or web page"):
        work((0, "", 0, 1), wanted(web.url("/a"), web.url("/b")), config)
    assert policies == []


def test_a_redirect_to_a_host_that_is_cut_waits_for_its_shares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the task of the redirect and the shares would ask the host at once, each as often as all of them may."""
    from pipeline.__main__ import main
    from pipeline.fetch import host_groups
    from tests.pipeline.fetch.counting import counting_server, write_world

    monkeypatch.setattr(host_groups, "URLS_PER_GROUP", 10)
    monkeypatch.setattr(host_groups, "URLS_PER_SHARE", 20)
    monkeypatch.setattr(host_groups, "TASK_RATE", 10.0)
    two = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    with counting_server() as (port, counts):
        large = [f"http://127.0.0.1:{port}/{i}" for i in range(60)]
        redirected = [f"http://127.0.0.{9 + i}:{port}/to/127.0.0.1/{100 + i}" for i in range(30)]
        config = write_world(tmp_path / "lists", [*large, *redirected], 3, 30)
        assert main(["fetch", "--config", str(config), "--output", str(tmp_path / "out"), *two]) == 0
    assert counts.bodies["127.0.0.1"] == 90
    assert counts.most["127.0.0.1"] <= 3
    assert counts.most_in_a_second("127.0.0.1") <= 31
