"""Limits per host: requests in progress, requests per second, and pauses, whatever other hosts do."""

import asyncio
import socket
import threading
import time
from itertools import pairwise

import pytest

from pipeline.config import FetchConfig
from pipeline.fetch import connections, fetch_all, host_limits
from pipeline.fetch.host_limits import Host, HostLimits, Hosts
from pipeline.fetch.urls import parse_url
from tests.pipeline.fetch.conftest import Get, Request, Web, body


def test_limits_per_host_hold(get: Get, web: Web) -> None:
    lock, now, most, times = threading.Lock(), [0], [0], []

    def answer(request: Request) -> None:
        with lock:
            times.append(time.monotonic())
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.05)
        with lock:
            now[0] -= 1
        request.send_response(200)
        request.end_headers()
        request.wfile.write(b"x")

    urls = [web.raw(f"/{i}", answer) for i in range(12)]
    get.all(urls, host_concurrency=3, host_requests_per_second=40.0)
    assert most[0] <= 3
    assert times[-1] - times[0] >= 11 / 40 - 0.02


def test_the_request_rate_holds_while_other_hosts_occupy_the_slots(
    get: Get, web: Web, names: dict[str, list[str]]
) -> None:
    """The stalled host gets the only slot after the first request to the other one, whose requests wait meanwhile."""
    names["stalled.test"] = ["127.0.0.1"]
    times: list[float] = []

    def answer(request: Request) -> None:
        times.append(time.monotonic())
        request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")

    def stall(request: Request) -> None:
        time.sleep(1)
        answer(request)

    urls = [web.raw(f"/{i}", answer) for i in range(5)]
    urls.append(web.raw("/stalled", stall).replace("127.0.0.1", "stalled.test"))
    limits = {"concurrency": 1, "host_concurrency": 4, "host_requests_per_second": 5.0}
    assert all(body(result) == b"x" for result in get.all(urls, robots_txt=False, opt_outs=False, **limits))
    assert len(times) == 6
    first, _, *waiting = times
    assert waiting[-1] - waiting[0] > 3 / 5 - 0.1
    assert waiting[0] - first > 1 - 0.1


def test_a_request_that_waits_for_a_slot_obeys_a_pause() -> None:
    async def ask() -> float:
        host, slots = Host("x.test", HostLimits(4, 0.0)), asyncio.Semaphore(1)

        async def request() -> float:
            async with host.request(slots):
                return time.monotonic()

        async with slots:
            waiting = [asyncio.create_task(request()) for _ in range(4)]
            await asyncio.sleep(0.02)
            host.pause(0.3)
            start = time.monotonic()
        return min(await asyncio.gather(*waiting)) - start

    assert asyncio.run(ask()) > 0.29


def test_requests_that_wait_for_a_slot_end_with_the_budget() -> None:
    async def ask() -> list[object]:
        host, slots = Host("x.test", HostLimits(4, 0.0, seconds=0.05)), asyncio.Semaphore(1)

        async def request() -> None:
            async with host.request(slots):
                raise AssertionError

        async with slots:
            waiting = [asyncio.create_task(request()) for _ in range(9)]
            with host.budget.running():
                await asyncio.sleep(0.1)
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert (host.users, slots.locked()) == (0, False)
        return [getattr(result, "code", result) for result in results]

    assert asyncio.run(ask()) == ["host_too_slow"] * 9


def test_idle_hosts_are_evicted_though_an_older_one_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_limits, "MAX_HOSTS", 3)

    async def ask() -> None:
        asked = Hosts(HostLimits.from_config(FetchConfig()))
        busy = parse_url("http://busy.test/")
        host = asked.get(busy)
        async with host.request(asyncio.Semaphore(1)):
            for i in range(20):
                asked.get(parse_url(f"http://{i}.test/"))
                assert len(asked._hosts) <= 4
            assert asked.get(busy) is host

    asyncio.run(ask())


def test_a_host_keeps_its_delay_while_its_requests_wait_for_the_resolver(
    get: Get, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The only resolver thread is busy with other hosts, so that the first one would be evicted."""
    monkeypatch.setattr(host_limits, "MAX_HOSTS", 1)
    for module in (connections, fetch_all):
        monkeypatch.setattr(module, "RESOLVER_THREADS", 1)
    times: list[float] = []

    def resolve(host: str | bytes, port: int, *_: object, **__: object) -> list[tuple]:
        time.sleep(0.5 if b"other" in (host if isinstance(host, bytes) else host.encode()) else 0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    def answer(request: Request) -> None:
        times.append(time.monotonic())
        request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    web.serve("/robots.txt", b"User-agent: *\nCrawl-delay: 0.5\n")
    urls = [web.raw(f"/{i}", answer).replace("127.0.0.1", "polite.test") for i in range(4)]
    others = [web.serve(f"/other{i}", b"x").replace("127.0.0.1", f"other{i}.test") for i in range(4)]
    results = get.all([*others, *urls], host_concurrency=4)
    assert all(body(result) == b"x" for result in results)
    assert min(later - earlier for earlier, later in pairwise(times)) > 0.5 - 0.1
