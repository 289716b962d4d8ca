"""Tables of rejections, hosts, and the speed of each stage."""

from typing import Any

from page.table import Column, PageTable
from pipeline.report.tables import BuildTables, share_with_interval
from pipeline.running import metrics_file
from schemas.rejection import CODES

HOSTS = 100  # rows of the table of hosts
GONE = ("connection_failed", "not_found", "unknown_host")  # link rot


def rejection_table(tables: BuildTables, name: str, caption: str) -> PageTable:
    """Return the rejections of a stage by code, most frequent first."""
    found = tables.grouped(f'SELECT code, image_id, class_name, "location", detail FROM {name}', "code")
    rows = [(code, rows, CODES[code].cause if code in CODES else "") for code, rows in found.items()]
    rows.sort(key=lambda row: (-row[1].count, row[0]))
    return PageTable(caption, [Column("code"), Column("rows", "count"), Column("cause")], rows)


def host_table(tables: BuildTables) -> PageTable | None:
    """Return the hosts with the most URLs, or None if no list has URLs."""
    gone = ", ".join(f"'{code}'" for code in GONE)
    everything = tables.grouped("SELECT host, image_id, outcome FROM asked", "host")
    if not everything:
        return None
    parts = {
        "images": tables.grouped("SELECT host, image_id FROM asked WHERE outcome = 'image'", "host"),
        "gone": tables.grouped(
            f"SELECT host, image_id, outcome FROM asked WHERE outcome IN ({gone})", "host"
        ),
        "other": tables.grouped(
            f"SELECT host, image_id, outcome FROM asked WHERE outcome NOT IN ('image', {gone})", "host"
        ),
    }
    hosts = sorted(everything, key=lambda host: (-everything[host].count, host))
    rows = []
    for host in hosts[:HOSTS]:
        lost = parts["gone"].get(host)
        gone_share = share_with_interval(lost.count if lost else 0, everything[host].count)
        rows.append((host, everything[host], *(parts[k].get(host, 0) for k in parts), gone_share))
    columns = [
        Column("host"), Column("URLs", "count"), Column("images", "count"), Column("gone or unreachable", "count"),
        Column("otherwise rejected", "count"), Column("gone or unreachable [95 %]", "share"),
    ]  # fmt: skip
    more = f"{len(hosts) - HOSTS:,} more hosts: SELECT host, count(*) FROM asked GROUP BY host"
    return PageTable(
        "Hosts. Gone or unreachable: the image is not found, or the host does not answer",
        columns, rows, more if len(hosts) > HOSTS else "", filterable=True,
    )  # fmt: skip


def speed_table(build: str) -> PageTable:
    """Return the time and throughput of the last run of each stage."""
    rows = []
    for stage, counted in {
        "fetch": ("url.asked", "URLs"),
        "ingest": ("retrieval.rows_in", "rows"),
        "aggregate": ("verdict.votes_in", "votes"),
        "embed": ("embed.computed", "images"),
        "dedupe": ("duplicate.image_pairs", "image pairs"),
        "split": (".rows", "examples"),
    }.items():
        metrics = metrics_file.read(build, stage)
        if not metrics or metrics["seconds"] is None:
            continue
        counters: dict[str, Any] = metrics.get("counters", {})
        name, unit = counted
        work = sum(
            n for key, n in counters.items() if key == name or (name == ".rows" and key.endswith(name))
        )
        asked = counters.get("url.asked")
        web = (
            f"{asked:,} URLs, {counters['url.requests']:,} requests, {counters['url.bytes'] / 1e6:,.0f} MB"
            if asked
            else ""
        )
        rows.append(
            (
                stage,
                metrics["runner"],
                metrics["seconds"],
                work,
                unit,
                work / max(metrics["seconds"], 1e-9),
                web,
            )
        )
    columns = [
        Column("stage"), Column("runner"), Column("seconds", "number"), Column("processed", "count"), Column("unit"),
        Column("per second", "count"), Column("downloads"),
    ]  # fmt: skip
    return PageTable("Last run of each stage", columns, [(*row[:5], round(row[5]), row[6]) for row in rows])
