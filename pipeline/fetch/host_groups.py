"""Who asks which host, so that the limits per host hold for the whole run, on any number of workers.

All URLs of a host belong to one group, and a group is one task, which asks its hosts at once. A host that may be asked
faster than one task can is cut into shares, tasks of their own, each with its part of the limits.
"""

import math
from collections.abc import Iterable

from pipeline.config import FetchConfig
from pipeline.keyed_hash import bucket, bucket_count, keyed_hash

URLS_PER_GROUP = 2_000
MAX_GROUPS = 256
URLS_PER_SHARE = 10_000
TASK_RATE = 100.0  # requests per second that one task makes without effort

TaskKey = tuple[int, str, int, int]
"""A task: (group, "", 0, 1), or share `index` of `count` of a host: (group, host, index, count)."""


def group_count(urls: int) -> int:
    """Return the number of groups for so many URLs, a power of two."""
    return min(MAX_GROUPS, bucket_count(urls, URLS_PER_GROUP))


def groups_of(hosts: Iterable[str], groups: int) -> list[int]:
    """Return the group of each host, given their keys (hosts.host_key)."""
    return bucket(keyed_hash(hosts, 0, "host"), groups).tolist()


def share_count(urls: int, config: FetchConfig, crawl_delay: float = 0.0) -> int:
    """Return how many shares a host with so many URLs is cut into.

    A host is cut only where its limits allow more requests per second than one task makes; each share then still makes
    TASK_RATE of them, and at least one at once. crawl_delay: seconds between two requests that the host asks for.
    """
    rates = [math.inf]
    if config.host_requests_per_second:
        rates.append(config.host_requests_per_second)
    if crawl_delay:
        rates.append(1 / crawl_delay)
    by_rate = min(rates) / TASK_RATE
    return max(1, math.ceil(min(by_rate, config.host_concurrency, urls / URLS_PER_SHARE)))
