"""What was rejected and why, what became of the hosts, and how fast it all went."""

from typing import Any

from page.table import Column, PageTable
from pipeline.report.tables import BuildTables, share_with_interval
from pipeline.running import metrics_file
from schemas.rejection import CODES

HOSTS = 100  # rows of the table of hosts
GONE = ("connection_failed", "not_found", "unknown_host")  # link rot


def rejection_table(tables: BuildTables, name: str, caption: str) -> PageTable:
    """Rejections of a stage by their code, the most frequent first."""
    found = tables.grouped(f'SELECT code, image_id, class_name, "location", detail FROM {name}', "code")
    rows = [(code, rows, CODES[code].cause if code in CODES else "") for code, rows in found.items()]
    rows.sort(key=lambda row: (-row[1].count, row[0]))
    return PageTable(caption, [Column("code"), Column("rows", "count"), Column("cause")], rows)


def host_table(tables: BuildTables) -> PageTable | None:
    """The hosts with the most URLs; None where nothing was asked for by URL."""
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
        rotten = share_with_interval(lost.count if lost else 0, everything[host].count)
        rows.append((host, everything[host], *(parts[k].get(host, 0) for k in parts), rotten))
    columns = [
        Column("host"), Column("URLs", "count"), Column("pictures", "count"), Column("gone", "count"),
        Column("otherwise rejected", "count"), Column("gone [95 %]", "share"),
    ]  # fmt: skip
    more = f"{len(hosts) - HOSTS:,} more hosts: SELECT host, count(*) FROM asked GROUP BY host"
    return PageTable(
        "Hosts. Gone: the picture is not found, or the host does not answer",
        columns, rows, more if len(hosts) > HOSTS else "", filterable=True,
    )  # fmt: skip


def speed_table(build: str) -> PageTable:
    """What the last run of each stage took."""
    rows = []
    for stage, counted in {
        "fetch": ("url.asked", "URLs"),
        "ingest": ("retrieval.rows_in", "rows"),
        "aggregate": ("verdict.votes_in", "votes"),
        "dedupe": ("duplicate.image_pairs", "pairs of pictures"),
        "split": (".rows", "examples"),
    }.items():
        told = metrics_file.read(build, stage)
        if not told or told["seconds"] is None:
            continue
        counters: dict[str, Any] = told.get("counters", {})
        name, what = counted
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
            (stage, told["runner"], told["seconds"], work, what, work / max(told["seconds"], 1e-9), web)
        )
    columns = [
        Column("stage"), Column("engine"), Column("seconds", "number"), Column("work", "count"), Column("of"),
        Column("a second", "count"), Column("from the web"),
    ]  # fmt: skip
    return PageTable(
        "The last run of each stage", columns, [(*row[:5], round(row[5]), row[6]) for row in rows]
    )
