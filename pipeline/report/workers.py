"""Who judged, how far they agree, whose answers deserve a look, and how well the search found."""

from math import log10

from markupsafe import Markup

from page.table import Column, IntervalCell, PageTable
from page.text import visible_text
from pipeline.report.tables import BuildTables, sql_literal

WORKERS_SHOWN = 400
CLASSES_SHOWN = 100
REASONS = {
    "contrary": "answers the opposite of the others, more often than by chance",
    "one answer": "nearly always the same answer, whatever is asked",
    "chance": "the answers hardly depend on the question",
    "hurry": "a quarter of the usual time for an answer, or less",
}
MEASURES = {
    "krippendorff_alpha": "Krippendorff’s α",
    "fleiss_kappa": "Fleiss’ κ",
    "gwet_ac1": "Gwet’s AC1",
    "mean_cohen_kappa": "mean Cohen’s κ",
}


def suspected_table(tables: BuildTables) -> PageTable:
    """How many workers were flagged, by reason."""
    query = "SELECT suspicion, worker_id, answers FROM workers WHERE suspicion IS NOT NULL"
    rows = [
        (reason, who, REASONS.get(reason, "")) for reason, who in tables.grouped(query, "suspicion").items()
    ]
    return PageTable(
        "Workers whose answers deserve a look",
        [Column("reason"), Column("workers", "count"), Column("it means")],
        rows,
    )


def worker_table(tables: BuildTables) -> PageTable:
    """Each worker; those worth a look first, then those with the most answers."""
    found = tables.rows(
        "SELECT worker_id, suspicion, answers, agreement, agreement_low, agreement_high, yes_when_yes, no_when_no, "
        "yes_share, unsure_share, seconds, skill, drift_z FROM workers "
        f"ORDER BY suspicion IS NULL, answers DESC, worker_id LIMIT {WORKERS_SHOWN}"
    )
    [(count,)] = tables.rows("SELECT count(*) FROM workers")
    columns = [
        Column("worker"),
        Column("worth a look"),
        Column("answers", "count"),
        Column("agrees [95 %]", "share"),
        Column("yes when yes", "share"),
        Column("no when no", "share"),
        Column("says yes", "share"),
        Column("unsure", "share"),
        Column("seconds", "number"),
        Column("skill", "share"),
        Column("drift z", "number"),
    ]
    rows = [(row[0], row[1] or "", row[2], IntervalCell(*row[3:6]), *row[6:]) for row in found]
    note = f"{count - len(found):,} more: SELECT * FROM workers" if count > len(found) else ""
    return PageTable(
        "Workers. Agreement is with the majority of the others, ties left out, with the 95 % interval of Wilson; yes when "
        "yes: share of yes where the others lean to yes",
        columns, rows, note, filterable=True,
    )  # fmt: skip


def agreement_table(tables: BuildTables) -> PageTable:
    """Agreement beyond chance with its bootstrap intervals, overall and by class."""
    found = tables.rows("SELECT class_name, measure, value, low, high, votes FROM agreement")
    names = [name for name in MEASURES if any(row[1] == name for row in found)]
    measured = {(row[0], row[1]): IntervalCell(*row[2:5]) for row in found}
    votes = {row[0]: row[5] for row in found}
    asked = "SELECT class_name, image_id, yes, no, unsure FROM verdicts"
    questions = {None: tables.listing(asked), **tables.grouped(asked, "class_name")}
    rows = [
        (
            "all classes" if name is None else name,
            *(measured.get((name, measure)) for measure in names),
            questions.get(name),
            votes[name],
        )
        for name in sorted(votes, key=lambda one: (one is not None, one))[: CLASSES_SHOWN + 1]
    ]
    columns = [
        Column("class"), *(Column(f"{MEASURES[name]} [95 %]", "number", 2) for name in names),
        Column("questions", "count"), Column("votes", "count"),
    ]  # fmt: skip
    return PageTable("Agreement beyond chance: 1 is full, 0 is chance", columns, rows, filterable=True)


def precision_table(tables: BuildTables) -> PageTable:
    """How often the search found what it was asked for, by kind of search and rank, of all classes together."""
    found = tables.rows(
        "SELECT method, rank_from, rank_to, yes, no, undecided, precision, low, high FROM search_precision "
        "WHERE class_name IS NULL ORDER BY method, rank_from"
    )
    rows = []
    for method, first, last, _, _, _, *bounds in found:
        ranks = (
            "no rank" if first is None else f"{first:,} and on" if last is None else f"{first:,} to {last:,}"
        )
        where = "source = 'web'"
        where += f" AND method = {sql_literal(method)}" if method else " AND method IS NULL"
        where += " AND rank IS NULL" if first is None else f" AND rank >= {first}"
        where += f" AND rank <= {last}" if last is not None else ""
        cells = [
            tables.listing(f"SELECT image_id, class_name FROM pairs WHERE {where} AND verdict {verdict}")
            for verdict in ("= 'yes'", "= 'no'", "IN ('undecided', 'no votes')")
        ]
        rows.append((method or "not told", ranks, *cells, IntervalCell(*bounds)))
    columns = [
        Column("search by"), Column("rank"), Column("right", "count"), Column("wrong", "count"),
        Column("undecided", "count"), Column("right of the decided [95 %]", "share"),
    ]  # fmt: skip
    return PageTable("What the search found, by rank of the hit", columns, rows)


def worker_chart(tables: BuildTables) -> Markup:
    """Each worker as a dot: answers against agreement; those worth a look stand out."""
    found = tables.rows(
        "SELECT worker_id, answers, agreement, agreement_low, agreement_high, suspicion FROM workers WHERE agreement IS NOT NULL "
        "ORDER BY suspicion IS NOT NULL, answers DESC, worker_id LIMIT 2000"
    )
    if len(found) < 2:
        return Markup("")
    width, height, left, bottom = 560, 260, 46, 36
    most = max(row[1] for row in found)

    def x(answers: int) -> float:
        return left + (width - left - 12) * log10(answers) / max(0.3, log10(most))

    def y(share: float) -> float:
        return 10 + (height - bottom - 10) * (1 - share)

    parts = [Markup('<svg class="chart" viewBox="0 0 {} {}" width="{}" height="{}" role="img" aria-label="{}">').format(
        width, height, width, height, "Workers: share of answers that agree with the others, against number of answers"
    )]  # fmt: skip
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(
            Markup(
                '<line x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/><text class="quiet" x="{}" y="{:.1f}" text-anchor="end">{:.0f} %</text>'
            ).format(left, width, y(share), y(share), left - 6, y(share) + 4, 100 * share)
        )
    tick = 1
    while tick <= most:
        parts.append(
            Markup('<text class="quiet" x="{:.1f}" y="{}" text-anchor="middle">{:,}</text>').format(
                x(tick), height - 18, tick
            )
        )
        tick *= 10
    parts.append(
        Markup('<text class="quiet" x="{}" y="{}" text-anchor="end">answers given</text>').format(
            width, height - 3
        )
    )
    for name, answers, agreement, low, high, suspicion in found:
        parts.append(
            Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{}"><title>{}</title></circle>').format(
                "flagged" if suspicion else "dot", x(answers), y(agreement), 4.5 if suspicion else 3,
                f"{visible_text(name, 60)}: {answers:,} answers, {100 * agreement:.0f} % agree [{100 * low:.0f}, {100 * high:.0f}]" + (f", {suspicion}" if suspicion else ""),
            )
        )  # fmt: skip
    return Markup("").join([*parts, Markup("</svg>")])
