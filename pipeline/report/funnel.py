"""The funnel from list rows to the images of the sets: counts kept and lost at each step."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from page.table import Column, Listing, PageTable
from pipeline.report.sets import manifests
from pipeline.report.tables import BuildTables, sql_literal

WIDTH, HEIGHT = 220, 12


@dataclass(frozen=True)
class FunnelStep:
    """One step of a funnel: what is left after it, what it removed, and why."""

    name: str
    left: Listing
    lost: Listing | None = None
    reason: str = ""


def funnels(tables: BuildTables, min_confidence: float) -> dict[str, list[FunnelStep]]:
    """Return the steps for web, clean and test rows, for the finished stages of the build."""
    return {
        "web": _steps(tables, "web", _web_rules(tables, min_confidence)),
        "clean": _steps(tables, "clean", _dedupe_rules(tables)),
        "test": _steps(tables, "test", []),
    }


Rule = tuple[str, str, str, str]  # name, SQL condition of kept rows, SQL condition of removed rows, reason


def _web_rules(tables: BuildTables, min_confidence: float) -> list[Rule]:
    rules: list[Rule] = []
    if tables.has("aggregate"):
        rules += [
            ("with votes", "verdict <> 'no votes'", "verdict = 'no votes'", "no votes"),
            ("decided", "verdict <> 'undecided'", "verdict = 'undecided'", "a tie or too few votes"),
            ("verified wrong", "verdict = 'no'", "verdict = 'yes'", "right for the class, so not noise"),
        ]
        if min_confidence > 0:
            least = f"confidence >= {min_confidence}::FLOAT"
            rules.append(("confidently wrong", least, f"NOT {least}", f"confidence below {min_confidence}"))
    return rules + _dedupe_rules(tables)


def _dedupe_rules(tables: BuildTables) -> list[Rule]:
    if not tables.has("dedupe"):
        return []
    copies, leaks = "removed IN ('near', 'exact')", "removed = 'leak'"
    return [
        (
            "without near-duplicates",
            f"(removed IS NULL OR {leaks})",
            copies,
            "near-duplicate of a kept image",
        ),
        ("without leaks", "removed IS NULL", leaks, "near-duplicate of a test image"),
    ]


def _steps(tables: BuildTables, source: str, rules: Sequence[Rule]) -> list[FunnelStep]:
    from_lists = _from_lists(tables, source)
    rejected = f'SELECT image_id, class_name, code, "location" FROM rejections WHERE {from_lists}'
    where = f"source = {sql_literal(source)}"
    rows = (
        f'SELECT "location", image_id, class_name FROM retrievals WHERE {where} '
        f'UNION ALL SELECT "location", image_id, class_name FROM rejections WHERE {from_lists}'
    )
    select = "SELECT image_id, class_name FROM pairs WHERE "
    steps = [
        FunnelStep("list rows", tables.listing(rows)),
        FunnelStep(
            "with an image",
            tables.listing(select + where),
            tables.listing(rejected),
            "rejected (see Rejections)",
        ),
    ]
    for name, stays, goes, why in rules:
        lost = tables.listing(f"{select}{where} AND {goes}")
        where += f" AND {stays}"
        steps.append(FunnelStep(name, tables.listing(select + where), lost, why))
    if source == "web" and rules:
        steps.append(
            FunnelStep(
                "distinct images",
                tables.listing(f"SELECT DISTINCT image_id FROM pairs WHERE {where}"),
                None,
                "an image is used for one class only",
            )
        )
    return steps + _levels(tables, source)


def _levels(tables: BuildTables, source: str) -> list[FunnelStep]:
    """Return the number of images of a source in each set with red noise."""
    names = [name for name, manifest in manifests(tables).items() if manifest.about.get("color") == "red"]
    query = "SELECT image_id, url FROM examples WHERE source = {} AND list_contains(sets, {})"
    within = ((name, tables.listing(query.format(sql_literal(source), sql_literal(name)))) for name in names)
    return [FunnelStep(f"in {name}", listing) for name, listing in within] if source != "test" else []


def _from_lists(tables: BuildTables, source: str) -> str:
    """Return the SQL condition for rejections of rows from the lists of `source`."""
    inputs = tables.lists.inputs
    names = [name.removeprefix(f"{source}/") for name in inputs if name.startswith(f"{source}/")]
    return (
        "("
        + (" OR ".join(f'starts_with("location", {sql_literal(name + ":")})' for name in names) or "false")
        + ")"
    )


def table(source: str, steps: Sequence[FunnelStep]) -> PageTable:
    """Return the funnel as a table with bars."""
    whole = max(1, steps[0].left.count)
    rows = []
    for before, step in zip([None, *steps], steps, strict=False):
        rows.append(
            (
                step.name,
                step.left,
                _bar(step.left.count / whole, before.left.count / whole if before else 0),
                step.left.count / whole,
                step.lost,
                step.reason,
            )
        )
    columns = [
        Column("step"),
        Column("left", "count"),
        Column("bar"),
        Column("share of rows", "share"),
        Column("removed", "count"),
        Column("reason"),
    ]
    return PageTable(f"Rows of the {source} lists", columns, rows, ordered=True)


def _bar(share: float, before: float) -> Markup:
    def part(name: str, width: float) -> Markup:
        return Markup('<rect class="{}" width="{:.1f}" height="{}"/>').format(name, width * WIDTH, HEIGHT)

    return Markup('<svg width="{}" height="{}" aria-hidden="true">{}{}</svg>').format(
        WIDTH, HEIGHT, part("lost", before), part("bar", share)
    )
