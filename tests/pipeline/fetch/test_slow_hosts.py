"""The time budget of a slow host limits the time of its own URLs and does not delay other hosts."""

import threading
import time
from pathlib import Path

import pytest

from pipeline.config import FetchConfig
from pipeline.fetch import fetch_all as fetch_all_module
from pipeline.fetch import host_limits
from pipeline.fetch.fetch_all import FetchPlan, fetch_all
from pipeline.fetch.host_limits import HostBudget, HostLimits
from pipeline.fetch.journal import Journal
from pipeline.fetch.url_fetcher import FetchRequest
from pipeline.rejections import Rejected
from tests.pipeline.fetch.conftest import FETCHING, OK, Fetched, Get, Web, body, raw


def codes(results: list[Fetched | Rejected]) -> list[str]:
    return [result.code if isinstance(result, Rejected) else "" for result in results]


def test_a_host_that_answers_429_uses_up_its_budget(get: Get, web: Web, names: dict[str, list[str]]) -> None:
    names["second.test"] = ["127.0.0.1"]
    slow = [web.serve(f"/{i}", status=429, Retry_After="1") for i in range(300)]
    quick = [web.serve(f"/x{i}", b"x").replace("127.0.0.1", "second.test") for i in range(20)]
    start = time.monotonic()
    actual = codes(get.all([*slow, *quick], max_attempts=2, host_budget_seconds=3, host_concurrency=4))
    assert time.monotonic() - start < 30  # 300 and more at a second each
    assert set(actual[:300]) <= {"rate_limited", "host_too_slow"}
    assert actual.count("host_too_slow") > 250
    assert actual[300:] == [""] * 20
    assert len(web.asked) < 100


def test_host_too_slow_can_be_retried(get: Get, web: Web) -> None:
    urls = [web.serve(f"/{i}", status=429, Retry_After="1") for i in range(20)]
    first = get.all(urls, max_attempts=1, host_budget_seconds=0.5, host_concurrency=1)
    left = [url for url, code in zip(urls, codes(first), strict=True) if code == "host_too_slow"]
    assert left
    assert all(
        "--retry host_too_slow" in actual.detail for actual in first[-1:] if isinstance(actual, Rejected)
    )
    for i in range(20):
        web.serve(f"/{i}", b"picture")
    web.asked.clear()
    assert codes(get.all(urls, max_attempts=1, host_budget_seconds=0.5, host_concurrency=1)) == codes(first)
    assert web.asked == []
    again = get.all(
        urls, retry=("host_too_slow",), max_attempts=1, host_budget_seconds=0.5, host_concurrency=1
    )
    assert [body(actual) for actual, url in zip(again, urls, strict=True) if url in left] == [
        b"picture"
    ] * len(left)
    assert sorted(web.asked) == sorted(url.removeprefix(web.address) for url in left)


def test_stalled_bodies_use_up_the_budget(get: Get, web: Web) -> None:
    release = threading.Event()

    def stall(request: object) -> None:
        request.wfile.write(OK + b"Content-Length: 500\r\n\r\n" + b"x" * 10)  # type: ignore[attr-defined]
        release.wait(20)

    urls = [web.raw(f"/{i}", stall) for i in range(100)]
    actual = codes(get.all(urls, timeout_seconds=0.2, host_concurrency=2, host_budget_seconds=1))
    release.set()
    assert set(actual) == {"timeout", "host_too_slow"}
    assert actual.count("host_too_slow") > 70


def test_a_long_crawl_delay_uses_up_the_budget(get: Get, web: Web) -> None:
    web.serve("/robots.txt", b"User-agent: *\nCrawl-delay: 2\n")
    actual = codes(
        get.all([web.serve(f"/{i}", b"x") for i in range(30)], host_budget_seconds=3, opt_outs=False)
    )
    assert actual.count("") in (1, 2, 3)
    assert set(actual) == {"", "host_too_slow"}


def test_stalled_policy_files_use_up_the_budget(get: Get, web: Web) -> None:
    raw(web, "/robots.txt", hold=2)
    actual = codes(
        get.all([web.serve(f"/{i}", b"x") for i in range(30)], timeout_seconds=0.5, host_budget_seconds=0.2)
    )
    assert set(actual) <= {"timeout", "host_too_slow"}


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(host_limits.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_the_budget_decreases_while_a_request_runs(clock: Clock) -> None:
    budget = HostBudget(10, 1)
    clock.now += 50
    assert budget.left == 10
    with budget.running():
        clock.now += 1
        with budget.running():
            clock.now += 3
        assert budget.left == 6  # once, however many wait
    clock.now += 50
    assert budget.left == 6
    with budget.running():
        clock.now += 50
    assert budget.left == 0


def test_answers_return_time_up_to_the_budget(clock: Clock) -> None:
    budget = HostBudget(10, 1)
    with budget.running():
        for _ in range(1000):
            clock.now += 1.0
            budget.return_time()
        assert budget.left == pytest.approx(10, abs=1)
        for _ in range(30):
            budget.return_time()
        assert budget.left == 10
        clock.now += 10
        budget.return_time()
        assert budget.left == 0  # used up is used up


def test_a_low_request_rate_does_not_use_up_the_budget(clock: Clock) -> None:
    budget = host_limits.Host(
        "x.test", HostLimits.from_config(FetchConfig(host_requests_per_second=0.2, host_budget_seconds=60))
    ).budget
    with budget.running():
        for _ in range(1000):
            clock.now += 5
            budget.return_time()
    assert budget.left == 60


def test_slow_hosts_use_up_their_budgets_while_they_share_slots(
    get: Get, web: Web, names: dict[str, list[str]]
) -> None:
    """With places for two requests and five hosts that stall, each host always has requests that wait for a place."""
    release = threading.Event()
    urls = []
    for host in ("a.test", "b.test", "c.test", "d.test", "e.test"):
        names[host] = ["127.0.0.1"]
        for i in range(20):
            url = web.raw(f"/{host}/{i}", lambda _: bool(release.wait(20)) and None)
            urls.append(url.replace("127.0.0.1", host))
    limits = {"concurrency": 2, "host_concurrency": 2, "host_budget_seconds": 0.3, "timeout_seconds": 0.1}
    actual = codes(get.all(urls, robots_txt=False, opt_outs=False, **limits))
    release.set()
    assert set(actual) == {"timeout", "host_too_slow"}
    assert actual.count("host_too_slow") > 50


def test_waiting_for_slots_does_not_use_the_budget(get: Get, web: Web, names: dict[str, list[str]]) -> None:
    names["quick.test"] = ["127.0.0.1"]
    slow = [raw(web, f"/slow/{i}", OK + b"\r\nx", pause=0.1) for i in range(20)]
    quick = [web.serve(f"/{i}", b"x").replace("127.0.0.1", "quick.test") for i in range(20)]
    actual = codes(get.all([*slow, *quick], concurrency=1, host_budget_seconds=0.5))
    assert actual == [""] * 40


def test_slow_hosts_are_reported_while_the_task_runs(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_all_module, "SLOW_HOST_SECONDS", 0.05)
    urls = [web.serve(f"/{i}", status=429, Retry_After="1") for i in range(5)]
    config = FetchConfig(**(FETCHING | {"host_budget_seconds": 2, "max_attempts": 1, "host_concurrency": 1}))  # type: ignore[arg-type]
    reported: list[list[str]] = []
    journal = Journal(str(tmp_path), "1", "")
    fetch_all(
        map(FetchRequest, urls),
        FetchPlan(config, 1000, HostLimits.from_config(config), slow=reported.append),
        journal,
    )
    journal.close()
    assert any(names and names[0].startswith("127.0.0.1 (1 of 2 s)") for names in reported), reported
    assert reported[-1] == []
