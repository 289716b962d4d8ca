"""SQL access to the tables of a build: each number of the report is the count of a query that the report shows."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from page.table import IntervalCell, Listing
from page.text import is_unseen
from pipeline import files
from pipeline.aggregate.wilson import wilson_interval
from pipeline.layout import Layout
from pipeline.report.freshness import finished_stages, outdated
from pipeline.shards import directory
from pipeline.shards.ingested_lists import read_ingested_lists
from pipeline.shards.plan import PLANNED_SCHEMA
from schemas.agreement import AGREEMENT
from schemas.duplicate import DUPLICATE
from schemas.image import IMAGES
from schemas.rejection import REJECTION
from schemas.retrieval import RETRIEVAL
from schemas.retrieval_precision import RETRIEVAL_PRECISION
from schemas.suspect import SUSPECT
from schemas.verdict import VERDICT
from schemas.worker import WORKER

HEAD = 8  # counted items shown for a number
IMAGE_COLUMNS = ("image_id", "group_id")  # columns with the id of an image, the first present one is used
HEADS_AT_MOST = 3000  # numbers with shown items; further numbers have only their query

_IMAGE_COLUMNS = ["image_id", "source", "width", "height", "format", "bytes_in", "sha256"]
_IMAGE_SCHEMA = pa.schema([IMAGES.schema.field(name) for name in _IMAGE_COLUMNS])


class TableSource(NamedTuple):
    """A table of a build: the stage that writes it, its folder relative to the output folder, and the columns read."""

    stage: str
    folder: str
    schema: pa.Schema


_HERE = Layout("")
TABLES = {
    "images": TableSource("ingest", _HERE.images, _IMAGE_SCHEMA),
    "retrievals": TableSource("ingest", _HERE.retrievals, RETRIEVAL.schema),
    "rejections": TableSource("ingest", _HERE.rejections, REJECTION.schema),
    "verdicts": TableSource("aggregate", _HERE.verdicts, VERDICT.schema),
    "workers": TableSource("aggregate", _HERE.workers, WORKER.schema),
    "agreement": TableSource("aggregate", _HERE.agreement, AGREEMENT.schema),
    "search_precision": TableSource("aggregate", _HERE.retrieval_precision, RETRIEVAL_PRECISION.schema),
    "vote_rejections": TableSource("aggregate", _HERE.vote_rejections, REJECTION.schema),
    "duplicates": TableSource("dedupe", _HERE.duplicates, DUPLICATE.schema),
    "suspects": TableSource("audit", _HERE.suspects, SUSPECT.schema),
    "examples": TableSource("split", _HERE.examples, PLANNED_SCHEMA),
}
VIEWS = {
    # Every image under every class of the lists, with its verdict and removal.
    "pairs": """
SELECT retrievals.*,
  CASE WHEN source = 'web' THEN coalesce(verdict, 'no votes') ELSE 'given' END AS verdict,
  yes, no, unsure, confidence, p_wrong, seen_class, reason AS removed, keeper_id
FROM retrievals
LEFT JOIN verdicts USING (image_id, class_name)
LEFT JOIN (SELECT image_id, reason, keeper_id FROM duplicates WHERE removed) USING (image_id)""",
    # Every list row with a URL: its host, and 'image' or the rejection code.
    "asked": r"""
SELECT image_id, lower(regexp_extract(url, '^(?i:https?)://(?:[^/@]*@)?(\[[^\]]*\]|[^:/?#]*)', 1)) AS host,
  'image' AS outcome FROM retrievals WHERE url <> '' AND coalesce(path, '') = ''
UNION ALL SELECT coalesce(image_id, "location"), host, code FROM rejections WHERE host <> ''""",
    # Images (with near-duplicates merged) listed under several classes: at most one class is right.
    "several_classes": """
WITH keepers AS (SELECT image_id, keeper_id FROM duplicates), -- a keeper may itself be reported, so joined twice
named AS (SELECT DISTINCT image_id, class_name, source, coalesce(b.keeper_id, a.keeper_id, image_id) AS group_id
  FROM retrievals LEFT JOIN keepers AS a USING (image_id) LEFT JOIN keepers AS b ON b.image_id = a.keeper_id)
SELECT group_id, class_name, image_id, source,
  coalesce(verdict, CASE WHEN source = 'web' THEN 'no votes' ELSE 'given' END) AS verdict
FROM named LEFT JOIN verdicts USING (image_id, class_name)
WHERE group_id IN (SELECT group_id FROM named GROUP BY group_id HAVING count(DISTINCT class_name) > 1)""",
}


class BuildTables:
    """The committed tables of a build in an in-memory database, without image bytes.

    Tables of unfinished stages are empty, and so are tables made from older versions of their inputs. Queries cannot
    access files. Raises DataError if ingest has not finished.
    """

    def __init__(self, build: str) -> None:
        self.build = build
        self.lists = read_ingested_lists(Layout(build).retrievals)
        self.finished = finished_stages(build)
        self.outdated = outdated(build)
        self.connection = duckdb.connect()
        for name, source in TABLES.items():
            self._load(name, self._read(source))
        for name, text in VIEWS.items():
            self.connection.execute(f"CREATE TABLE {name} AS {text}")
        self.connection.execute("SET enable_external_access = false")
        self.connection.execute("SET lock_configuration = true")
        self._heads = 0
        self.listed: list[tuple[int, str]] = []  # image ids in listings, with their positions there

    def _read(self, source: TableSource) -> pa.Table:
        if not self._is_there(source):
            return source.schema.empty_table()
        return directory.read_all(self._folder(source), source.schema)

    def _folder(self, source: TableSource) -> str:
        return files.join(self.build, source.folder)

    def _is_there(self, source: TableSource) -> bool:
        finished = source.stage in {"ingest", *self.finished}
        return finished and directory.find_manifest(self._folder(source)) is not None

    def _load(self, name: str, table: pa.Table) -> None:
        if name == "images":  # position of the image for StoredImages
            table = table.append_column("position", pa.array(range(table.num_rows), pa.int64()))
        self.connection.register("loaded", table)
        self.connection.execute(f"CREATE TABLE {name} AS SELECT * FROM loaded")
        self.connection.unregister("loaded")

    def has(self, stage: str) -> bool:
        """Whether a stage after ingest has finished."""
        return stage in self.finished

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        return self.connection.execute(query, list(parameters)).fetchall()

    def listing(self, query: str) -> Listing:
        """Return the count of a query, and its first rows ordered by its columns."""
        [(count,)] = self.rows(f"SELECT count(*) FROM ({query})")
        size = self._head_size()
        if not (size and count):
            return Listing(count, (), query)
        cursor = self.connection.execute(f"SELECT * FROM ({query}) ORDER BY ALL LIMIT {size}")
        names, head = [column[0] for column in cursor.description or ()], cursor.fetchall()
        return Listing(count, tuple(map(_line, head)), query, self._images(names, head))

    def _images(self, names: Sequence[str], head: Sequence[Sequence[Any]]) -> tuple[str, ...]:
        """Return the image ids of the first items of a listing, and remember them; () if the items have none."""
        column = next((names.index(name) for name in IMAGE_COLUMNS if name in names), None)
        if column is None:
            return ()
        image_ids = tuple(str(row[column] or "") for row in head)
        self.listed += enumerate(image_ids)
        return image_ids

    def grouped(self, query: str, by: str) -> dict[Any, Listing]:
        """Return a listing for each value of the column `by`, the first of the query; items show the other columns."""
        others = [column[0] for column in self.connection.execute(f"DESCRIBE {query}").fetchall()][1:]
        order = ", ".join(f'"{name}"' for name in others)
        counts = dict(self.rows(f"SELECT {by}, count(*) FROM ({query}) GROUP BY ALL ORDER BY ALL"))
        heads: dict[Any, list[list[Any]]] = {key: [] for key in counts}
        sizes = {key: self._head_size() for key in counts}
        for key, *rest in self.rows(
            f"SELECT * FROM ({query}) QUALIFY row_number() OVER (PARTITION BY {by} ORDER BY {order}) <= {HEAD} "
            "ORDER BY ALL"
        ):
            if len(heads[key]) < sizes[key]:
                heads[key].append(rest)
        return {
            key: Listing(
                count, tuple(map(_line, heads[key])), f"SELECT * FROM ({query}) WHERE {by} = {sql_literal(key)}",
                self._images(others, heads[key]),
            )
            for key, count in counts.items()
        }  # fmt: skip

    def _head_size(self) -> int:
        self._heads += 1
        return HEAD if self._heads <= HEADS_AT_MOST else 0

    def script(self) -> str:
        """Return the SQL that defines the tables and views in DuckDB, run in the output folder of the build."""
        lines = []
        for name, source in TABLES.items():
            if self._is_there(source) and directory.read_manifest(self._folder(source)).shards:
                lines.append(f"CREATE VIEW {name} AS FROM '{source.folder}/*.parquet';")
            else:
                columns = self.rows(f"DESCRIBE {name}")
                types = ", ".join(
                    f'"{column[0]}" {column[1]}' for column in columns if column[0] != "position"
                )
                lines.append(f"CREATE TABLE {name} ({types}); -- empty")
        return "\n".join([*lines, *(f"CREATE VIEW {name} AS{text};" for name, text in VIEWS.items())])


def sql_literal(value: Any) -> str:
    """Return an SQL literal; invisible characters are written by number, so that the query can be read and copied."""
    if isinstance(value, int | float):
        return str(value)
    text = str(value).replace("'", "''")
    return "'" + "".join(f"' || chr({ord(c)}) || '" if is_unseen(c) else c for c in text) + "'"


def share_with_interval(part: int, whole: int) -> IntervalCell:
    """Return a share with its 95 % interval; all None if `whole` is 0."""
    bounds = wilson_interval(np.array([part]), np.array([whole]))
    return IntervalCell(*(None if np.isnan(bound[0]) else float(bound[0]) for bound in bounds))


def _line(row: Sequence[Any]) -> str:
    return " · ".join(str(value) for value in row if value is not None)
