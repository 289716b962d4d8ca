"""Count the URLs of the lists by host and by rejection code. Nothing in the counts depends on the clock."""

import json
from collections import Counter, defaultdict

from pipeline import files
from pipeline.fetch.urls import parse_url
from pipeline.layout import Layout
from pipeline.rejections import Rejected
from pipeline.shards import directory

HOSTS = 100  # told one by one, those with the most URLs first
GONE = {"not_found", "unknown_host", "connection_failed"}  # link rot: no such picture, no such host any more


def write_web_report(layout: Layout) -> None:
    """Read the committed tables of the ingest stage, shard by shard, and write the counts as JSON."""
    hosts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    codes: Counter[str] = Counter()
    for shard in directory.read_shards(layout.retrievals, ["path", "url"]):
        for row in shard.to_pylist():
            if not row["path"]:
                hosts[_host(row["url"])]["image"] += 1
    for shard in directory.read_shards(layout.rejections, ["code", "host"]):
        for row in shard.to_pylist():
            codes[row["code"]] += 1
            if row["host"]:
                hosts[row["host"]][row["code"]] += 1
    urls = sum(counts.total() for counts in hosts.values())
    gone = sum(counts[code] for counts in hosts.values() for code in GONE)
    largest = sorted(hosts, key=lambda host: (-hosts[host].total(), host))[:HOSTS]
    told = {
        "urls": urls,
        "hosts": len(hosts),
        "gone": gone,
        "gone_share": round(gone / urls, 4) if urls else 0.0,
        "codes": dict(sorted(codes.items())),
        "largest_hosts": {host: dict(sorted(hosts[host].items())) for host in largest},
    }
    files.write_text(layout.web_report, json.dumps(told, indent=1, ensure_ascii=False) + "\n")


def _host(url: str) -> str:
    try:
        return parse_url(url).host
    except Rejected:
        return ""
