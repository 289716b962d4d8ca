"""Tables of near-duplicates, and of images listed under several classes."""

from typing import Any

from page.table import Column, PageTable
from pipeline.report.sheets import SIDE, ImageFigure
from pipeline.report.tables import BuildTables, sql_literal
from pipeline.report.thumbnails import data_uri, thumbnails

ROWS_SHOWN = 200
FIGURES_SHOWN = 24
REASONS = {
    "exact": "same bytes as another image",
    "near": "near-duplicate of another image",
    "leak": "near-duplicate of a test image",
}


def duplicate_table(tables: BuildTables) -> PageTable:
    """Return near-duplicates by reason and source; test images and kept clean leaks are only reported."""
    groups = tables.rows(
        "SELECT DISTINCT reason, source, removed FROM duplicates ORDER BY removed DESC, reason, source"
    )
    rows = []
    for reason, source, removed in groups:
        images = tables.listing(
            "SELECT image_id, keeper_id, distance_256 FROM duplicates "
            f"WHERE reason = {sql_literal(reason)} AND source = {sql_literal(source)} AND removed = {str(removed).lower()}"
        )
        rows.append((REASONS.get(reason, reason), source, "removed" if removed else "only reported", images))
    columns = [Column("reason"), Column("source"), Column("action"), Column("images", "count")]
    return PageTable("Near-duplicates", columns, rows)


def several_table(tables: BuildTables) -> PageTable:
    """Return counts of images listed under several classes, by the number of classes that are right."""
    by_right = (
        "SELECT group_id FROM several_classes GROUP BY group_id "
        "HAVING count(DISTINCT class_name) FILTER (verdict IN ('yes', 'given'))"
    )
    rows = [
        (
            "images listed under several classes",
            tables.listing("SELECT DISTINCT group_id FROM several_classes"),
        ),
        ("… right for one class", tables.listing(f"{by_right} = 1")),
        ("… right for several classes (a contradiction)", tables.listing(f"{by_right} > 1")),
        ("… right for no class", tables.listing(f"{by_right} = 0")),
    ]
    return PageTable(
        "Images listed under several classes (at most one can be right)",
        [Column("images"), Column("count", "count")],
        rows,
    )


def several_rows(tables: BuildTables) -> PageTable:
    """Return the classes of images listed under several classes, one class per row."""
    query = "SELECT group_id, class_name, image_id, source, verdict FROM several_classes"
    rows = tables.rows(f"{query} ORDER BY ALL LIMIT {ROWS_SHOWN}")
    [(count,)] = tables.rows("SELECT count(*) FROM several_classes")
    note = f"{count - len(rows):,} more: {query} ORDER BY ALL" if count > len(rows) else ""
    columns = [Column(name) for name in ("keeper", "class", "image", "source", "verdict")]
    return PageTable("Images listed under several classes, by class", columns, rows, note, filterable=True)


def several_figures(tables: BuildTables) -> list[ImageFigure]:
    """Return images listed under several classes with the verdict for each class; contradictions come first.

    The kept image is displayed, beside it a near-duplicate listed under another class, if there is one.
    """
    rows = tables.rows(
        "SELECT group_id, min(image_id) FILTER (image_id <> group_id) AS other, "
        "list((class_name, verdict, source, image_id) ORDER BY class_name, image_id, source) AS entries "
        "FROM several_classes GROUP BY group_id "
        "ORDER BY count(DISTINCT class_name) FILTER (verdict IN ('yes', 'given')) DESC, group_id "
        f"LIMIT {FIGURES_SHOWN}"
    )
    images = thumbnails(tables, {name for row in rows for name in row[:2] if name}, SIDE)
    return [_several_figure(row[0], row[1], row[2], images) for row in rows if row[0] in images]


def _several_figure(
    image_id: str, other: str | None, entries: list[tuple[str, str, str, str]], images: dict[str, bytes]
) -> ImageFigure:
    verdicts: dict[str, set[str]] = {}
    facts: list[tuple[str, Any]] = []
    for class_name, verdict, source, listed in entries:
        verdicts.setdefault(class_name, set()).add(verdict)
        facts.append((class_name, f"{verdict} ({source}, {listed})"))
    caption = "; ".join(f"{name}: {' and '.join(sorted(found))}" for name, found in verdicts.items())
    beside = images.get(other or "")
    return ImageFigure(
        image_id,
        data_uri(images[image_id]),
        caption,
        tuple(facts),
        data_uri(beside) if beside else None,
        other or "",
    )
