"""Tables of near-duplicates, and of images listed under several classes."""

from page.table import Column, PageTable
from pipeline.report.tables import BuildTables, sql_literal

ROWS_SHOWN = 200
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
