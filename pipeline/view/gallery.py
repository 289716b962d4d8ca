"""Which pictures a page of the browser shows: filters of a closed list, turned into one query."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.report.tables import BuildTables

PAGE = 60  # pictures at once

# Every image under every class of the lists, or the examples of one set under the class of their label.
LISTED = """
SELECT image_id, class_name, source, verdict, yes, no, unsure, confidence, url, method, rank,
  coalesce(removed, 'kept') AS fate, keeper_id, NULL AS label, NULL AS true_class, NULL AS replaced_image_id FROM pairs"""
IN_SET = """
SELECT image_id, given.name AS class_name, source, NULL AS verdict, votes_yes AS yes, votes_no AS no,
  votes_unsure AS unsure, confidence, url, method, rank, 'kept' AS fate, NULL AS keeper_id,
  CASE WHEN is_clean THEN 'right' ELSE 'wrong' END AS label, truly.name AS true_class, replaced_image_id
FROM examples JOIN class_names AS given ON given.id = label LEFT JOIN class_names AS truly ON truly.id = true_label
WHERE list_contains(sets, ?)"""
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
    "id": "contains(image_id, ?)",
}


@dataclass(frozen=True)
class Chosen:
    """One page of the pictures that were asked for: how many there are in all, and the rows of this page."""

    count: int
    page: int
    rows: list[dict[str, Any]]

    @property
    def pages(self) -> int:
        """How many pages there are, at least one."""
        return max(1, -(-self.count // PAGE))


class Gallery:
    """StoredImages by class, source, verdict, fate and set, as they lie: neighbors are read together."""

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
        }

    def choose(self, asked: Mapping[str, str]) -> Chosen:
        """The page that a query string asks for; what it has besides the known names is passed over."""
        base, values = LISTED, []
        if name := asked.get("set"):
            base, values = IN_SET, [name]
        wanted = [name for name in CONDITIONS if asked.get(name)]
        values += [asked[name] for name in wanted]
        where = " AND ".join(["true", *(CONDITIONS[name] for name in wanted)])
        found = f"WITH found AS (SELECT * FROM ({base}) WHERE {where})"
        [(count,)] = self.tables.rows(f"{found} SELECT count(*) FROM found", values)
        page = min(_number(asked.get("page", "")), max(1, -(-count // PAGE)))
        window = f"ORDER BY images.position, class_name LIMIT {PAGE} OFFSET {(page - 1) * PAGE}"
        cursor = self.tables.connection.execute(f"{found} {FACTS} {window}", values)
        names = [column[0] for column in cursor.description]
        return Chosen(count, page, [dict(zip(names, row, strict=True)) for row in cursor.fetchall()])


def _number(text: str) -> int:
    """A page number; whatever is none is the first."""
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 10 else 1
