"""Tables of workers, their agreement and suspicious answers, and of retrieval precision."""

from math import log10

from markupsafe import Markup

from page.table import Column, IntervalCell, PageTable
from page.text import visible_text
from pipeline.report.tables import BuildTables, sql_literal

WORKERS_SHOWN = 400
CLASSES_SHOWN = 100
REASONS = {
    "contrary": "contradicts the other workers more often than chance would",
    "one answer": "gives nearly always the same answer",
    "chance": "answers hardly depend on the question",
    "hurry": "takes at most a quarter of the usual time per answer",
}
MEASURES = {
    "krippendorff_alpha": "Krippendorff’s α",
    "fleiss_kappa": "Fleiss’ κ",
    "gwet_ac1": "Gwet’s AC1",
    "mean_cohen_kappa": "mean Cohen’s κ",
}


def suspected_table(tables: BuildTables) -> PageTable:
    """Return the number of suspicious workers by reason."""
    query = "SELECT suspicion, worker_id, answers FROM workers WHERE suspicion IS NOT NULL"
    rows = [
        (reason, workers, REASONS.get(reason, ""))
        for reason, workers in tables.grouped(query, "suspicion").items()
    ]
    return PageTable(
        "Workers with suspicious answers",
        [Column("reason"), Column("workers", "count"), Column("meaning")],
        rows,
    )


def worker_table(tables: BuildTables) -> PageTable:
    """Return one row per worker: suspicious workers first, then by number of answers."""
    workers = tables.rows(
        "SELECT worker_id, suspicion, answers, agreement, agreement_low, agreement_high, yes_when_yes, no_when_no, "
        "yes_share, unsure_share, seconds, gold_answers, gold_right, gold_low, gold_high, skill, drift_z FROM workers "
        f"ORDER BY suspicion IS NULL, answers DESC, worker_id LIMIT {WORKERS_SHOWN}"
    )
    [(count,)] = tables.rows("SELECT count(*) FROM workers")
    columns = [
        Column("worker"),
        Column("suspicion"),
        Column("answers", "count"),
        Column("agreement [95 %]", "share"),
        Column("yes if yes", "share"),
        Column("no if no", "share"),
        Column("yes", "share"),
        Column("unsure", "share"),
        Column("seconds per answer", "number"),
        Column("gold answers", "count"),
        Column("right on gold [95 %]", "share"),
        Column("skill", "share"),
        Column("drift z", "number"),
    ]
    rows = [
        (
            row[0],
            row[1] or "",
            row[2],
            IntervalCell(*row[3:6]),
            *row[6:12],
            IntervalCell(*row[12:15]),
            *row[15:],
        )
        for row in workers
    ]
    note = f"{count - len(workers):,} more: SELECT * FROM workers" if count > len(workers) else ""
    return PageTable(
        "Workers. Agreement: with the majority of the other workers, without ties, with a 95 % Wilson interval. Yes if yes: "
        "share of yes answers where the majority of the others says yes",
        columns, rows, note, filterable=True,
    )  # fmt: skip


def agreement_table(tables: BuildTables) -> PageTable:
    """Return agreement beyond chance with bootstrap intervals, overall and by class."""
    measures = tables.rows("SELECT class_name, measure, value, low, high, votes FROM agreement")
    names = [name for name in MEASURES if any(row[1] == name for row in measures)]
    values = {(row[0], row[1]): IntervalCell(*row[2:5]) for row in measures}
    votes = {row[0]: row[5] for row in measures}
    query = "SELECT class_name, image_id, yes, no, unsure FROM verdicts"
    questions = {None: tables.listing(query), **tables.grouped(query, "class_name")}
    rows = [
        (
            "all classes" if name is None else name,
            *(values.get((name, measure)) for measure in names),
            questions.get(name),
            votes[name],
        )
        for name in sorted(votes, key=lambda name: (name is not None, name))[: CLASSES_SHOWN + 1]
    ]
    columns = [
        Column("class"), *(Column(f"{MEASURES[name]} [95 %]", "number", 2) for name in names),
        Column("questions", "count"), Column("votes", "count"),
    ]  # fmt: skip
    more = len(votes) - len(rows)
    note = f"{more:,} more classes: SELECT * FROM agreement" if more else ""
    return PageTable("Agreement beyond chance (1: full, 0: chance)", columns, rows, note, filterable=True)


def precision_table(tables: BuildTables) -> PageTable:
    """Return retrieval precision over all classes, by search method and rank."""
    groups = tables.rows(
        "SELECT method, rank_from, rank_to, yes, no, undecided, precision, low, high FROM search_precision "
        "WHERE class_name IS NULL ORDER BY method, rank_from"
    )
    rows = []
    for method, first, last, _, _, _, *bounds in groups:
        ranks = "no rank" if first is None else f"{first:,}+" if last is None else f"{first:,} to {last:,}"
        where = "source = 'web'"
        where += f" AND method = {sql_literal(method)}" if method else " AND method IS NULL"
        where += " AND rank IS NULL" if first is None else f" AND rank >= {first}"
        where += f" AND rank <= {last}" if last is not None else ""
        cells = [
            tables.listing(f"SELECT image_id, class_name FROM pairs WHERE {where} AND verdict {verdict}")
            for verdict in ("= 'yes'", "= 'no'", "IN ('undecided', 'no votes')")
        ]
        rows.append((method or "unknown", ranks, *cells, IntervalCell(*bounds)))
    columns = [
        Column("search method"), Column("rank"), Column("right", "count"), Column("wrong", "count"),
        Column("undecided or no votes", "count"), Column("precision [95 %]", "share"),
    ]  # fmt: skip
    return PageTable(
        "Retrieval precision by rank: share of right images among decided candidates", columns, rows
    )


def worker_chart(tables: BuildTables) -> Markup:
    """Return an SVG scatter plot of workers: agreement against number of answers, with suspicious workers highlighted."""
    workers = tables.rows(
        "SELECT * FROM (SELECT worker_id, answers, agreement, agreement_low, agreement_high, suspicion FROM workers "
        "WHERE agreement IS NOT NULL ORDER BY suspicion IS NULL, answers DESC, worker_id LIMIT 2000) "
        "ORDER BY suspicion IS NOT NULL, answers DESC, worker_id"  # suspicious workers last, above the others
    )
    if len(workers) < 2:
        return Markup("")
    width, height, left, bottom = 560, 260, 46, 36
    most = max(row[1] for row in workers)

    def x(answers: int) -> float:
        return left + (width - left - 12) * log10(answers) / max(0.3, log10(most))

    def y(share: float) -> float:
        return 10 + (height - bottom - 10) * (1 - share)

    parts = [Markup('<svg class="chart" viewBox="0 0 {} {}" width="{}" height="{}" role="img" aria-label="{}">').format(
        width, height, width, height, "Workers: agreement with the other workers against number of answers"
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
        Markup('<text class="quiet" x="{}" y="{}" text-anchor="end">answers</text>').format(width, height - 3)
    )
    for name, answers, agreement, low, high, suspicion in workers:
        parts.append(
            Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{}"><title>{}</title></circle>').format(
                "flagged" if suspicion else "dot", x(answers), y(agreement), 4.5 if suspicion else 3,
                f"{visible_text(name, 60)}: {answers:,} answers, {100 * agreement:.0f} % agree [{100 * low:.0f}, {100 * high:.0f}]" + (f", {suspicion}" if suspicion else ""),
            )
        )  # fmt: skip
    return Markup("").join([*parts, Markup("</svg>")])
