"""Assign hosts to tasks, so that the limits per host hold for the whole run with any number of worker processes.

All URLs of a host belong to one group, and a group is one task. A host whose limits allow more requests than one task
can send is cut into shares: separate tasks, each with its part of the limits.
"""

import math
from collections.abc import Iterable

from pipeline.config import FetchConfig
from pipeline.keyed_hash import bucket, bucket_count, keyed_hash

URLS_PER_GROUP = 2_000
MAX_GROUPS = 256
URLS_PER_SHARE = 10_000
TASK_RATE = 100.0  # requests per second that one task can send easily

TaskKey = tuple[int, str, int, int]
"""Key of a task: (group, "", 0, 1), or share `index` of `count` of a host: (group, host, index, count)."""


def group_count(urls: int) -> int:
    """Return the number of groups, a power of two, for a number of URLs."""
    return min(MAX_GROUPS, bucket_count(urls, URLS_PER_GROUP))


def groups_of(hosts: Iterable[str], groups: int) -> list[int]:
    """Return the group of each host, given their host keys (urls.host_key)."""
    return bucket(keyed_hash(hosts, 0, "host"), groups).tolist()


def share_count(urls: int, config: FetchConfig, crawl_delay: float = 0.0) -> int:
    """Return the number of shares that a host with `urls` URLs is cut into.

    A host is cut only if its limits allow more requests per second than TASK_RATE; each share then may send TASK_RATE
    of them, and have at least one in progress. crawl_delay: Crawl-delay of the host in seconds.
    """
    rates = [math.inf]
    if config.host_requests_per_second:
        rates.append(config.host_requests_per_second)
    if crawl_delay:
        rates.append(1 / crawl_delay)
    by_rate = min(rates) / TASK_RATE
    return max(1, math.ceil(min(by_rate, config.host_concurrency, urls / URLS_PER_SHARE)))
