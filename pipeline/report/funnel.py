"""From the rows of the lists to the pictures of the sets: what each step has left, and what it has lost."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from page.table import Column, Listing, PageTable
from pipeline.report.sets import manifests
from pipeline.report.tables import BuildTables, sql_literal

WIDTH, HEIGHT = 220, 12


@dataclass(frozen=True)
class FunnelStep:
    """One step of a funnel: what is left after it, what it has lost, and why."""

    name: str
    left: Listing
    lost: Listing | None = None
    because: str = ""


def funnels(tables: BuildTables, min_confidence: float) -> dict[str, list[FunnelStep]]:
    """The steps of web, clean and test rows, as far as the build has gone."""
    return {
        "web": _steps(tables, "web", _web_rules(tables, min_confidence)),
        "clean": _steps(tables, "clean", _dedupe_rules(tables)),
        "test": _steps(tables, "test", []),
    }


Rule = tuple[str, str, str, str]  # name, what stays (SQL), what goes (SQL), why


def _web_rules(tables: BuildTables, min_confidence: float) -> list[Rule]:
    rules: list[Rule] = []
    if tables.has("aggregate"):
        rules += [
            ("with votes", "verdict <> 'no votes'", "verdict = 'no votes'", "nobody was asked"),
            ("with a verdict", "verdict <> 'undecided'", "verdict = 'undecided'", "a tie, or too few votes"),
            ("wrong: not its class", "verdict = 'no'", "verdict = 'yes'", "right, which makes no noise"),
        ]
        if min_confidence > 0:
            least = f"confidence >= {min_confidence}::FLOAT"
            rules.append(("wrong for sure", least, f"NOT {least}", f"confidence below {min_confidence}"))
    return rules + _dedupe_rules(tables)


def _dedupe_rules(tables: BuildTables) -> list[Rule]:
    if not tables.has("dedupe"):
        return []
    copies, leaks = "removed IN ('near', 'exact')", "removed = 'leak'"
    return [
        ("without copies", f"(removed IS NULL OR {leaks})", copies, "like another picture that stays"),
        ("leak-free", "removed IS NULL", leaks, "like a test picture"),
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
        FunnelStep("rows of the lists", tables.listing(rows)),
        FunnelStep(
            "with a picture",
            tables.listing(select + where),
            tables.listing(rejected),
            "rejected, by code below",
        ),
    ]
    for name, stays, goes, why in rules:
        lost = tables.listing(f"{select}{where} AND {goes}")
        where += f" AND {stays}"
        steps.append(FunnelStep(name, tables.listing(select + where), lost, why))
    if source == "web" and rules:
        steps.append(
            FunnelStep(
                "different pictures",
                tables.listing(f"SELECT DISTINCT image_id FROM pairs WHERE {where}"),
                None,
                "one picture serves one class",
            )
        )
    return steps + _levels(tables, source)


def _levels(tables: BuildTables, source: str) -> list[FunnelStep]:
    """What the sets of red noise have of the source: wrong web pictures, and clean ones that stay."""
    names = [name for name, one in manifests(tables).items() if one.about.get("color") == "red"]
    query = "SELECT image_id, url FROM examples WHERE source = {} AND list_contains(sets, {})"
    within = ((name, tables.listing(query.format(sql_literal(source), sql_literal(name)))) for name in names)
    return [FunnelStep(f"in {name}", listing) for name, listing in within] if source != "test" else []


def _from_lists(tables: BuildTables, source: str) -> str:
    """The condition on rejections that they come from the lists of `source`."""
    inputs = tables.lists.inputs
    names = [name.removeprefix(f"{source}/") for name in inputs if name.startswith(f"{source}/")]
    return (
        "("
        + (" OR ".join(f'starts_with("location", {sql_literal(name + ":")})' for name in names) or "false")
        + ")"
    )


def table(source: str, steps: Sequence[FunnelStep]) -> PageTable:
    """The funnel as a table with bars."""
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
                step.because,
            )
        )
    columns = [
        Column("step"),
        Column("left", "count"),
        Column("as a bar"),
        Column("of the rows", "share"),
        Column("lost here", "count"),
        Column("because"),
    ]
    return PageTable(f"From the {source} lists", columns, rows, ordered=True)


def _bar(share: float, before: float) -> Markup:
    def part(name: str, width: float) -> Markup:
        return Markup('<rect class="{}" width="{:.1f}" height="{}"/>').format(name, width * WIDTH, HEIGHT)

    return Markup('<svg width="{}" height="{}" aria-hidden="true">{}{}</svg>').format(
        WIDTH, HEIGHT, part("lost", before), part("bar", share)
    )
