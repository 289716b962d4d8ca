"""Table of what the verified-wrong images of each class show: another listed class, or none that is known."""

from page.table import Column, PageTable
from pipeline.report.tables import BuildTables

NAMED = 3  # classes named in a cell

VIEW = """
WITH shown AS (SELECT image_id, count(*) AS classes, min(class_name) AS one
  FROM pairs WHERE source = 'web' AND verdict = 'yes' GROUP BY image_id)
SELECT pairs.class_name, image_id, url, p_wrong,
  CASE WHEN classes > 1 THEN 'several classes' WHEN classes = 1 THEN one ELSE seen_class END AS shown_class
FROM pairs LEFT JOIN shown USING (image_id)
WHERE source = 'web' AND verdict = 'no' AND removed IS NULL"""


def wrong_table(tables: BuildTables, class_names: list[str]) -> PageTable:
    """Return the kept wrong images of each class: closed ones with the classes that they show most often, and open ones."""
    query = f"SELECT class_name, image_id, shown_class, url FROM ({VIEW}) WHERE shown_class IS"
    closed, opened = (tables.grouped(f"{query} {kind}", "class_name") for kind in ("NOT NULL", "NULL"))
    counts: dict[str, list[str]] = {}
    for name, shown, count in tables.rows(
        f"SELECT class_name, shown_class, count(*) FROM ({VIEW}) WHERE shown_class IS NOT NULL GROUP BY ALL "
        "ORDER BY class_name, count(*) DESC, shown_class"
    ):
        counts.setdefault(name, []).append(f"{shown} ({count:,})")
    rows = []
    for name in class_names:
        known, unknown = (found[name].count if name in found else 0 for found in (closed, opened))
        share = known / (known + unknown) if known + unknown else None
        named = counts.get(name, [])
        rest = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
        rows.append((name, closed.get(name, 0), opened.get(name, 0), share, ", ".join(named[:NAMED]) + rest))
    columns = [
        Column("class"),
        Column("closed: shows another class", "count"),
        Column("open: none known", "count"),
        Column("closed, of both", "share"),
        Column("shown most often"),
    ]
    return PageTable(
        "Verified-wrong images: those that show another listed class, and those of which no listed class is known",
        columns, rows, filterable=True,
    )  # fmt: skip
