"""Filtering and paging of the images of a build, as one SQL query with a closed list of filters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.report.tables import BuildTables

PAGE = 60  # images per page

# Every image under every class of the lists, or the examples of one set under their given label.
LISTED = """
SELECT image_id, class_name, source, verdict, yes, no, unsure, confidence, url, method, rank,
  coalesce(removed, 'kept') AS fate, keeper_id, NULL AS label, NULL AS noise_type, p_wrong,
  NULL AS true_class, NULL AS replaced_image_id FROM pairs"""
IN_SET = """
SELECT image_id, given.name AS class_name, source, NULL AS verdict, votes_yes AS yes, votes_no AS no,
  votes_unsure AS unsure, confidence, url, method, rank, 'kept' AS fate, NULL AS keeper_id,
  CASE WHEN is_clean THEN 'right' ELSE 'wrong' END AS label, noise_type, p_wrong, truly.name AS true_class, replaced_image_id
FROM examples JOIN class_names AS given ON given.id = label LEFT JOIN class_names AS truly ON truly.id = true_label
WHERE list_contains(sets, ?)"""
# The verdict or the label of an image is a suspect if the audit gives it an even chance or more of being wrong.
AUDITED = """
SELECT listed.*, p_error, probable_class FROM ({}) AS listed
LEFT JOIN (SELECT image_id, class_name, p_error, probable_class FROM suspects) USING (image_id, class_name)"""
FACTS = """
SELECT found.*, images.* EXCLUDE (image_id, source, sha256), keepers.source AS keeper_source,
  keepers.position AS keeper_position, distance_256, orientation
FROM found JOIN images USING (image_id)
LEFT JOIN duplicates ON duplicates.image_id = found.image_id AND found.keeper_id IS NOT NULL
LEFT JOIN images AS keepers ON keepers.image_id = found.keeper_id"""
CONDITIONS = {
    "class": "class_name = ?",
    "source": "source = ?",
    "verdict": "verdict = ?",
    "fate": "fate = ?",
    "label": "label = ?",
    "suspect": "coalesce(p_error >= 0.5, false) = (? = 'yes')",
    "id": "contains(image_id, ?)",
}


@dataclass(frozen=True)
class GalleryPage:
    """One page of the filtered images: the total count, the page number, and the rows of the page."""

    count: int
    page: int
    rows: list[dict[str, Any]]

    @property
    def pages(self) -> int:
        """Number of pages, at least 1."""
        return max(1, -(-self.count // PAGE))


class Gallery:
    """Images of a build, filtered by class, source, verdict, fate, set, label and id, in the order of storage."""

    def __init__(self, tables: BuildTables, class_names: Sequence[str], sets: Sequence[str]) -> None:
        self.tables = tables
        tables.connection.execute("CREATE TABLE class_names (id BIGINT, name VARCHAR)")
        tables.connection.executemany("INSERT INTO class_names VALUES (?, ?)", list(enumerate(class_names)))
        self.choices: dict[str, tuple[str, ...]] = {
            "class": tuple(class_names),
            "source": ("clean", "web", "test"),
            "verdict": ("yes", "no", "undecided", "no votes", "given"),
            "fate": ("kept", "leak", "near", "exact"),
            "set": tuple(sets),
            "label": ("right", "wrong"),
            "suspect": ("yes", "no") if tables.has("audit") else (),
        }

    def select(self, parameters: Mapping[str, str]) -> GalleryPage:
        """Return the page for the parameters of a query string; unknown parameters are ignored."""
        base, values = LISTED, []
        if name := parameters.get("set"):
            base, values = IN_SET, [name]
        filters = [name for name in CONDITIONS if parameters.get(name)]
        values += [parameters[name] for name in filters]
        where = " AND ".join(["true", *(CONDITIONS[name] for name in filters)])
        found = f"WITH found AS (SELECT * FROM ({AUDITED.format(base)}) WHERE {where})"
        [(count,)] = self.tables.rows(f"{found} SELECT count(*) FROM found", values)
        page = min(_page_number(parameters.get("page", "")), max(1, -(-count // PAGE)))
        window = f"ORDER BY images.position, class_name LIMIT {PAGE} OFFSET {(page - 1) * PAGE}"
        cursor = self.tables.connection.execute(f"{found} {FACTS} {window}", values)
        names = [column[0] for column in cursor.description]
        return GalleryPage(count, page, [dict(zip(names, row, strict=True)) for row in cursor.fetchall()])


def _page_number(text: str) -> int:
    """Parse a page number; anything else gives 1."""
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 10 else 1
