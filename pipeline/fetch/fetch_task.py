"""Run one task of the fetch job: reuse recorded outcomes, fetch the other URLs, and hand redirects to other tasks."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import pyarrow as pa
from pyarrow import compute as pc

from pipeline import files
from pipeline.config import FetchConfig
from pipeline.fetch.fetch_all import FetchPlan, fetch_all, read_policies, url_host_key
from pipeline.fetch.host_groups import TaskKey, groups_of, share_count
from pipeline.fetch.host_limits import HostLimits
from pipeline.fetch.journal import JOURNAL, RECORDED, Journal, latest, read_journal, urls_with_last_code
from pipeline.fetch.policies import Policy, crawl_delay
from pipeline.fetch.url_fetcher import FetchRequest
from pipeline.rejections import RequestStats
from schemas.fetched import FETCHED

WANTED = pa.schema([("url", pa.string()), ("again", pa.bool_())])
"""URLs of the lists; `again`: fetch even if an outcome is recorded."""

REQUESTS = pa.schema(
    [
        ("url", pa.string()), ("target", pa.string()), ("hops", pa.int16()), ("digest", pa.string()),
        ("host", pa.string()), ("status", pa.int16()), ("bytes_seen", pa.int64()), ("seconds", pa.float64()),
        ("attempts", pa.int16()),
    ]
)  # fmt: skip
"""Requests that one task hands to another: target of the redirects, metrics, and the digest of an earlier run."""

POLICIES = pa.schema(
    [("file", pa.string()), ("text", pa.binary()), ("code", pa.string()), ("detail", pa.string())]
)

_FETCHED = [field.name for field in FETCHED.schema]
_NO_REQUESTS = REQUESTS.empty_table()


Part = tuple[TaskKey, str, pa.Table]
"""Input of a task in a later round: its key, the kind of the table, and the table."""
Position = Literal["first", "other", "last"]
"""Position of a round of tasks among all rounds."""
FIRST: Position = "first"
OTHER: Position = "other"
LAST: Position = "last"


@dataclass(frozen=True)
class RunTerms:
    """Settings of all tasks of a run.

    max_bytes: limit of a body. folder: folder of journals and bodies. run: number of this run in the names of journals.
    rules: digest by journal.fetch_rules. groups: number of groups of hosts. retry: rejection codes whose URLs are fetched
    again. check_bodies: check the digest of every stored body. cut_hosts: cut large hosts into shares (false on one
    machine, where one task fetches everything).
    """

    config: FetchConfig
    max_bytes: int
    folder: str
    run: int
    rules: str
    groups: int
    retry: frozenset[str] = frozenset()
    check_bodies: bool = False
    cut_hosts: bool = False


@dataclass
class TaskResults:
    """Rows of the table `fetched`, parts for tasks of later rounds, and metrics."""

    rows: list[pa.Table]
    shares: list[Part]
    redirects: list[Part]
    counts: Counter[str]


def run_task(
    key: TaskKey,
    parts: dict[str, list[pa.Table]],
    terms: RunTerms,
    position: Position,
    done: Callable[[int], None],
    slow: Callable[[list[str]], None] = lambda _: None,
) -> TaskResults:
    """Fetch the URLs of one task.

    parts: tables by kind: "wanted", "known", "requests", "policies". position: FIRST tasks leave large hosts to shares;
    the LAST task is the only one of its round and follows every redirect itself. done: called with numbers of finished
    URLs. slow: called regularly with descriptions of the hosts that delay the task.
    """
    name = f"{terms.run:06d}-{_digest(key, position)}"
    # An earlier attempt at this task in the same run has written journals of the same name.
    earlier = [
        read_journal(terms.folder, journal_name)
        for journal_name in sorted(files.names(terms.folder, f"{name}-*{JOURNAL}"))
    ]
    parts = {**parts, "known": [*parts.get("known", []), *earlier]}
    rows, new = _split_wanted(parts, terms)
    repeated, requests = _split_requests(earlier, parts.get("requests", []), terms.rules)
    results = TaskResults([part for part in (rows, repeated) if part.num_rows], [], [], Counter())
    results.counts["url.known"] = rows.num_rows + repeated.num_rows
    done(results.counts["url.known"])
    if terms.cut_hosts and position == FIRST:
        new, results.shares = _cut_hosts(key, new, terms)
    requests = pa.concat_tables([new, requests])
    if requests.num_rows:
        policies = tuple(Policy(**row) for table in parts.get("policies", []) for row in table.to_pylist())
        digests = requests.filter(pc.is_valid(requests["digest"])).select(["url", "digest"])
        plan = FetchPlan(
            terms.config,
            terms.max_bytes,
            HostLimits.from_config(terms.config, key[2], key[3]),
            (lambda _: True) if position == LAST else _responsible(key, terms.groups),
            policies,
            dict(zip(*digests.to_pydict().values(), strict=True)),
            done,
            slow,
        )
        journal = Journal(terms.folder, name, terms.rules)
        try:
            outcome = fetch_all(_requests(requests), plan, journal)
        finally:
            journal.close()
        results.rows += outcome.tables()
        results.redirects = list(_by_group(outcome.redirects, plan.digests, terms.groups))
        results.counts.update(journal.counts)
    return results


def _digest(key: TaskKey, position: Position) -> str:
    return hashlib.sha256(repr((key, position)).encode()).hexdigest()[:8]


def _split_requests(
    earlier: list[pa.Table], requests: list[pa.Table], rules: str
) -> tuple[pa.Table, pa.Table]:
    """Split requests into the valid outcomes that an earlier attempt at the task recorded, and the remaining requests."""
    every = pa.concat_tables([_NO_REQUESTS, *requests])
    known = latest(pa.concat_tables([RECORDED.empty_table(), *earlier]))
    known = known.filter(pc.is_in(known["url"], every["url"].combine_chunks()))
    known = known.filter(_is_valid(known, rules))
    left = every.filter(pc.invert(pc.is_in(every["url"], known["url"].combine_chunks())))
    return known.select(_FETCHED).cast(FETCHED.schema), left


def _responsible(key: TaskKey, groups: int) -> Callable[[str], bool]:
    group, host, _, _ = key
    if host:
        return lambda other: other == host
    return lambda other: groups_of([other], groups) == [group]


def _split_wanted(parts: dict[str, list[pa.Table]], terms: RunTerms) -> tuple[pa.Table, pa.Table]:
    """Split the wanted URLs into recorded outcomes that are still valid, and requests for the others."""
    wanted = pa.concat_tables([WANTED.empty_table(), *parts.get("wanted", [])])
    if not wanted.num_rows:
        return FETCHED.schema.empty_table(), _NO_REQUESTS
    wanted = wanted.group_by("url").aggregate([("again", "max")]).sort_by("url")
    known = pa.concat_tables([RECORDED.empty_table(), *parts["known"]])
    known = known.filter(pc.is_in(known["url"], wanted["url"].combine_chunks()))
    again = wanted.filter(wanted["again_max"])["url"].combine_chunks()
    if "content_changed" in terms.retry:
        again = pa.concat_arrays([again, urls_with_last_code(known, "content_changed")])
    known = latest(known)
    is_refused = pc.or_(
        pc.is_in(known["code"], pa.array(sorted(terms.retry), pa.string())), pc.is_in(known["url"], again)
    )
    usable = known.filter(pc.and_(_is_valid(known, terms.rules), pc.invert(is_refused)))
    if terms.check_bodies:
        usable = usable.filter(_intact(usable, terms.folder))
    new = wanted.filter(pc.invert(pc.is_in(wanted["url"], usable["url"].combine_chunks())))["url"]
    digests = known["sha256"].take(pc.index_in(new, known["url"].combine_chunks()))
    # Explicitly fetched again, or retried for this reason: other bytes are what the user asks for.
    digests = pc.if_else(pc.is_in(new, again), pa.scalar(None, pa.string()), digests)
    requests = pa.table({"url": new, "digest": digests, "hops": pa.array([0] * len(new), pa.int16())})
    return usable.select(_FETCHED).cast(FETCHED.schema), _conform(requests)


def _is_valid(known: pa.Table, rules: str) -> pa.Array:
    """Whether each recorded outcome still holds: a failure by the present rules, or a body that is stored."""
    return pc.if_else(
        pc.is_valid(known["code"]), pc.equal(known["rules"], rules), pc.is_valid(known["offset"])
    )


def _conform(requests: pa.Table) -> pa.Table:
    columns = [
        requests[field.name].cast(field.type)
        if field.name in requests.column_names
        else pa.nulls(requests.num_rows, field.type)
        for field in REQUESTS
    ]
    return pa.table(columns, schema=REQUESTS)


def _intact(rows: pa.Table, folder: str) -> pa.Array:
    """Whether the stored body of each row has the recorded digest; true for rows without a body."""
    result: list[bool] = []
    for part in rows.select(["body_file", "offset", "length", "sha256"]).to_batches(max_chunksize=64):
        ranges = [
            (files.join(folder, row["body_file"]), row["offset"], row["length"]) if row["body_file"] else None
            for row in part.to_pylist()
        ]
        bodies = iter(files.read_ranges([byte_range for byte_range in ranges if byte_range]))
        for byte_range, digest in zip(ranges, part["sha256"].to_pylist(), strict=True):
            result.append(byte_range is None or hashlib.sha256(next(bodies) or b"").hexdigest() == digest)
    return pa.array(result, pa.bool_())


def _cut_hosts(key: TaskKey, requests: pa.Table, terms: RunTerms) -> tuple[pa.Table, list[Part]]:
    """Remove hosts that are too large for one task from `requests`, and return them as shares for the next round."""
    by_host: defaultdict[str, list[int]] = defaultdict(list)
    for number, url in enumerate(requests["url"].to_pylist()):
        by_host[url_host_key(url)].append(number)
    later: list[Part] = []
    for host, numbers in by_host.items():
        if not host or share_count(len(numbers), terms.config) == 1:
            continue
        of_host = requests.take(pa.array(numbers))
        policies = read_policies(of_host["url"].to_pylist(), terms.config)
        count = share_count(len(numbers), terms.config, crawl_delay(policies))
        table = pa.Table.from_pylist([vars(policy) for policy in policies], schema=POLICIES)
        for index in range(count):
            share = of_host.take(pa.array(range(index, len(numbers), count), pa.int64()))
            later += [((key[0], host, index, count), kind, part) for kind, part in
                      (("requests", share), ("policies", table))]  # fmt: skip
        by_host[host] = []
    rest = sorted(number for numbers in by_host.values() for number in numbers)
    return requests.take(pa.array(rest, pa.int64())), later


def _requests(table: pa.Table) -> Iterator[FetchRequest]:
    names = [field.name for field in fields(RequestStats)]
    for row in table.to_pylist():
        stats = RequestStats(**{name: row[name] for name in names}) if row["target"] else None
        yield FetchRequest(row["url"], row["target"] or "", row["hops"], stats)


def _by_group(requests: Sequence[FetchRequest], digests: dict[str, str], groups: int) -> Iterable[Part]:
    """Group redirected requests by the group of the host that they lead to."""
    rows: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for request, group in zip(
        requests, groups_of([url_host_key(r.target) for r in requests], groups), strict=True
    ):
        assert request.stats is not None
        rows[group].append(
            {
                "url": request.url, "target": request.target, "hops": request.hops,
                "digest": digests.get(request.url), **vars(request.stats),
            }
        )  # fmt: skip
    for group, of_group in sorted(rows.items()):
        yield (group, "", 0, 1), "requests", pa.Table.from_pylist(of_group, schema=REQUESTS)
