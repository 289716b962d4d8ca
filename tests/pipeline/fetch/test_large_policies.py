"""Policy files that take much memory or time when they are parsed, as a hostile site serves from many host names."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Awaitable, Callable

import pytest
from protego import Protego

from pipeline.config import FetchConfig
from pipeline.fetch import robots
from pipeline.fetch.host_limits import HostLimits, Hosts
from pipeline.fetch.policies import Policies
from pipeline.fetch.robots import PathRules
from pipeline.fetch.urls import Url, parse_url

Check = Callable[[Policies, Url], Awaitable[bool]]


def robots_txt(host: int) -> bytes:
    return b"User-agent: *\nCrawl-delay: %d\nDisallow: /no-%d\n" % (host, host)


def test_the_parsed_rules_of_few_files_are_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[weakref.ref[Protego]] = []

    def parse(text: str) -> Protego:
        rules = Protego.parse(text)
        parsed.append(weakref.ref(rules))
        return rules

    monkeypatch.setattr(robots, "Protego", type("Counted", (), {"parse": staticmethod(parse)}))
    monkeypatch.setattr(robots, "PARSED_BYTES", 3 * (robots.FILE_BYTES + len(robots_txt(10))))
    files = {host: PathRules(robots_txt(host)) for host in range(10, 20)}
    gc.freeze()  # so that collecting looks at the new objects alone
    for _ in range(2):
        for host, rules in files.items():
            assert rules.allow("http://x.test/a")
            assert not rules.allow(f"http://x.test/no-{host}")
            assert rules.delay == host
            gc.collect()  # rules refer to each other
            assert sum(reference() is not None for reference in parsed) <= 3
    gc.unfreeze()
    assert len(parsed) == 20


def test_equal_files_are_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert PathRules(robots_txt(1)).allow("http://x.test/a")
    monkeypatch.setattr(robots, "Protego", None)
    assert not PathRules(robots_txt(1)).allow("http://y.test/no-1")


@pytest.mark.parametrize("check", [Policies.may_be_fetched, Policies.may_be_mined])
def test_other_requests_go_on_while_a_file_is_parsed(monkeypatch: pytest.MonkeyPatch, check: Check) -> None:
    other, went_on = threading.Event(), []
    monkeypatch.setattr(PathRules, "is_parsed", False)
    monkeypatch.setattr(PathRules, "parse", lambda _: went_on.append(other.wait(30)))

    async def get(_url: object) -> bytes:
        return b"[]"

    async def another_request() -> None:
        await asyncio.sleep(0)
        other.set()

    async def run() -> None:
        policies = Policies(FetchConfig(), Hosts(HostLimits(1, 0.0)), get)
        checked = asyncio.create_task(check(policies, parse_url("http://x.test/a")))
        while not checked.done() and not other.is_set():
            await another_request()
        assert await checked

    asyncio.run(run())
    assert all(went_on)
    assert went_on
