"""Read the policy files of hosts, robots.txt and tdmrep.json, once each, and apply their rules to URLs."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pipeline.config import FetchConfig
from pipeline.fetch.host_limits import Host, Hosts
from pipeline.fetch.robots import PathRules, reservations
from pipeline.fetch.urls import Url, parse_url
from pipeline.rejections import Rejected

# How long rules, or the failure to read them, are cached.
RULES_SECONDS, NO_RULES_SECONDS = 24 * 3600, 600
TDM_FILE = "/.well-known/tdmrep.json"
_UNAVAILABLE = ("not_found", "http_status", "too_many_redirects")


@dataclass(frozen=True)
class Policy:
    """A policy file of a host: its text, or the rejection of its URL."""

    file: str
    text: bytes = b""
    code: str = ""
    detail: str = ""


class Policies:
    """The policy files of hosts.

    get: requests a file and returns the first MAX_POLICY_BYTES of its body; raises Rejected on failure.
    """

    def __init__(
        self, config: FetchConfig, hosts: Hosts, get: Callable[[Url], Coroutine[Any, Any, bytes]]
    ) -> None:
        self._config, self._hosts, self._get = config, hosts, get
        self._parsing = asyncio.Lock()

    async def may_be_fetched(self, url: Url) -> bool:
        """Whether robots.txt allows a URL, or is ignored. Raises Rejected if it cannot be read."""
        if not self._config.robots_txt:
            return True
        return await self._allow(await self._rules(url, "/robots.txt", self._read_robots), url)

    async def may_be_mined(self, url: Url) -> bool:
        """Whether tdmrep.json does not reserve a URL, or is ignored."""
        if not self._config.opt_outs:
            return True
        return await self._allow(await self._rules(url, TDM_FILE, self._read_reservations), url)

    async def read(self, urls: Iterable[str]) -> list[Policy]:
        """Read and return the policy files of the hosts of some URLs."""
        files: dict[Url, asyncio.Future[PathRules]] = {}
        for url in {parse_url(url).with_target("/") for url in urls}:
            with suppress(Rejected):  # the future keeps the rejection
                await self.may_be_fetched(url)
            await self.may_be_mined(url)
            files |= {file: task for file, (task, _) in self._hosts.get(url).rules.items()}
        return [_policy(str(file), task) for file, task in files.items()]

    def adopt(self, policies: Iterable[Policy]) -> None:
        """Use policy files that another task has read, instead of requesting them."""
        until = time.monotonic() + RULES_SECONDS
        for policy in policies:
            file = parse_url(policy.file)
            host = self._hosts.get(file)
            task: asyncio.Future[PathRules] = asyncio.get_running_loop().create_future()
            if policy.code:
                task.set_exception(Rejected(policy.code, policy.detail))
                task.exception()  # mark the exception as retrieved
            else:
                task.set_result(rules := PathRules(policy.text))
                self._slow_down(host, rules)
            host.rules[file] = task, until

    async def _rules(
        self, url: Url, path: str, read: Callable[[Host, Url], Coroutine[Any, Any, PathRules]]
    ) -> PathRules:
        """Return the rules of a policy file; concurrent callers share one request."""
        now, host = time.monotonic(), self._hosts.get(url)
        file = url.with_target(path)  # RFC 9309, section 2.3: a file for each scheme, host and port
        if file not in host.rules or now > host.rules[file][1]:
            task: asyncio.Future[PathRules] = asyncio.ensure_future(read(host, file))
            host.rules[file] = task, now + RULES_SECONDS
        task, until = host.rules[file]
        try:
            return task.result() if task.done() else await asyncio.shield(task)
        except Rejected as rejected:
            host.rules[file] = task, min(until, now + NO_RULES_SECONDS)
            raise Rejected(rejected.code, rejected.detail) from rejected

    async def _allow(self, rules: PathRules, url: Url) -> bool:
        await self._parse(rules)
        return rules.allow(str(url))

    async def _parse(self, rules: PathRules) -> None:
        """Parse a file in a thread, one at a time, so that other requests do not reach their deadlines meanwhile."""
        if not rules.is_parsed:
            async with self._parsing:
                await asyncio.to_thread(rules.parse)

    async def _read_reservations(self, _: Host, url: Url) -> PathRules:
        """Read a tdmrep.json; one that cannot be read reserves nothing, since it is optional and rare."""
        try:
            return reservations(await self._get(url))
        except Rejected:
            return PathRules(b"")

    async def _read_robots(self, host: Host, url: Url) -> PathRules:
        """Read a robots.txt. If it is missing (4xx), everything is allowed; if it is unavailable (429, 5xx), nothing is.

        Source: RFC 9309, section 2.3.1. If the host cannot be reached, its images are rejected with the same code.
        """
        try:
            rules = PathRules(await self._get(url))
        except Rejected as rejected:
            if rejected.code in _UNAVAILABLE:
                return PathRules(b"")
            is_unavailable = rejected.code in ("server_error", "rate_limited", "too_large", "bad_response")
            raise Rejected(
                "robots_disallowed" if is_unavailable else rejected.code, rejected.detail
            ) from rejected
        await self._parse(rules)
        self._slow_down(host, rules)
        return rules

    def _slow_down(self, host: Host, rules: PathRules) -> None:
        host.slow_down(min(rules.delay, self._config.max_retry_after_seconds))


def crawl_delay(policies: Iterable[Policy]) -> float:
    """Return the longest Crawl-delay of some policy files, in seconds."""
    return max((PathRules(policy.text).delay for policy in policies if not policy.code), default=0.0)


def _policy(file: str, task: "asyncio.Future[PathRules]") -> Policy:
    error = task.exception()
    if isinstance(error, Rejected):
        return Policy(file, code=error.code, detail=error.detail)
    return Policy(file, text=task.result().text)
