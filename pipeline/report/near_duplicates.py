"""What dedupe removed, and pictures that stand under several classes."""

from page.table import Column, PageTable
from pipeline.report.tables import BuildTables, sql_literal

ROWS_SHOWN = 200
REASONS = {
    "exact": "the same bytes as another",
    "near": "looks like another",
    "leak": "looks like a test picture",
}


def duplicate_table(tables: BuildTables) -> PageTable:
    """Duplicates by reason and source; test pictures and kept clean leaks are only reported."""
    found = tables.rows(
        "SELECT DISTINCT reason, source, removed FROM duplicates ORDER BY removed DESC, reason, source"
    )
    rows = []
    for reason, source, removed in found:
        which = tables.listing(
            "SELECT image_id, keeper_id, distance_256 FROM duplicates "
            f"WHERE reason = {sql_literal(reason)} AND source = {sql_literal(source)} AND removed = {str(removed).lower()}"
        )
        rows.append((REASONS.get(reason, reason), source, "removed" if removed else "only reported", which))
    columns = [Column("what"), Column("from the lists"), Column("then"), Column("pictures", "count")]
    return PageTable("Near-duplicates", columns, rows)


def several_table(tables: BuildTables) -> PageTable:
    """How many pictures stand under several classes, by how many of these the workers or the lists call right."""
    by_right = (
        "SELECT picture_id FROM several_classes GROUP BY picture_id "
        "HAVING count(DISTINCT class_name) FILTER (verdict IN ('yes', 'given'))"
    )
    rows = [
        ("pictures under several classes", tables.listing("SELECT DISTINCT picture_id FROM several_classes")),
        ("… of which one is right", tables.listing(f"{by_right} = 1")),
        ("… of which several are said to be right", tables.listing(f"{by_right} > 1")),
        ("… of which none is", tables.listing(f"{by_right} = 0")),
    ]
    return PageTable(
        "One picture, several classes: at most one is right",
        [Column("which"), Column("pictures", "count")],
        rows,
    )


def several_rows(tables: BuildTables) -> PageTable:
    """The classes of such pictures, one a row."""
    query = "SELECT picture_id, class_name, image_id, source, verdict FROM several_classes"
    rows = tables.rows(f"{query} ORDER BY ALL LIMIT {ROWS_SHOWN}")
    [(count,)] = tables.rows("SELECT count(*) FROM several_classes")
    note = f"{count - len(rows):,} more: {query} ORDER BY ALL" if count > len(rows) else ""
    columns = [Column(name) for name in ("picture", "class", "found as", "from the lists", "verdict")]
    return PageTable("Such pictures with what was found of each class", columns, rows, note, filterable=True)
