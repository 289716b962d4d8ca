"""The tables of a build, asked in SQL: each number of the report is the count of a query that the report shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from common.errors import DataError
from page.table import IntervalCell, Listing
from page.text import is_unseen
from pipeline import files
from pipeline.aggregate.wilson import wilson_interval
from pipeline.layout import Layout
from pipeline.report.freshness import finished_stages, outdated
from pipeline.shards import directory
from pipeline.shards.plan import PLANNED_SCHEMA
from schemas.agreement import AGREEMENT
from schemas.duplicate import DUPLICATE
from schemas.image import IMAGES
from schemas.manifest import MANIFEST
from schemas.rejection import REJECTION
from schemas.retrieval import RETRIEVAL
from schemas.retrieval_precision import RETRIEVAL_PRECISION
from schemas.verdict import VERDICT
from schemas.worker import WORKER

HEAD = 8  # of what a number counts, told in the page
HEADS_AT_MOST = (
    3000  # numbers that tell it; of a build with thousands of classes the others have their query alone
)

_IMAGE_COLUMNS = ["image_id", "source", "width", "height", "format", "bytes_in", "sha256"]
_IMAGE_SCHEMA = pa.schema([IMAGES.schema.field(name) for name in _IMAGE_COLUMNS])


class TableSource(NamedTuple):
    """A table of a build: the stage that writes it, its folder below the output folder, the columns that are read."""

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
    "examples": TableSource("split", _HERE.examples, PLANNED_SCHEMA),
}
VIEWS = {
    # Every image that is there, under every class that a list has it for, and what became of it.
    "pairs": """
SELECT retrievals.*,
  CASE WHEN source = 'web' THEN coalesce(verdict, 'no votes') ELSE 'given' END AS verdict,
  yes, no, unsure, confidence, reason AS removed, keeper_id
FROM retrievals
LEFT JOIN verdicts USING (image_id, class_name)
LEFT JOIN (SELECT image_id, reason, keeper_id FROM duplicates WHERE removed) USING (image_id)""",
    # Every row of the lists with a URL: its host, and 'image' or the code of its rejection.
    "asked": r"""
SELECT image_id, lower(regexp_extract(url, '^(?i:https?)://(?:[^/@]*@)?(\[[^\]]*\]|[^:/?#]*)', 1)) AS host,
  'image' AS outcome FROM retrievals WHERE url <> '' AND coalesce(path, '') = ''
UNION ALL SELECT coalesce(image_id, "location"), host, code FROM rejections WHERE host <> ''""",
    # One picture (near-duplicates are one) under several classes: at most one of them is right.
    "several_classes": """
WITH keepers AS (SELECT image_id, keeper_id FROM duplicates), -- what stays may itself be reported: hence twice
named AS (SELECT DISTINCT image_id, class_name, source, coalesce(b.keeper_id, a.keeper_id, image_id) AS picture_id
  FROM retrievals LEFT JOIN keepers AS a USING (image_id) LEFT JOIN keepers AS b ON b.image_id = a.keeper_id)
SELECT picture_id, class_name, image_id, source,
  coalesce(verdict, CASE WHEN source = 'web' THEN 'no votes' ELSE 'given' END) AS verdict
FROM named LEFT JOIN verdicts USING (image_id, class_name)
WHERE picture_id IN (SELECT picture_id FROM named GROUP BY picture_id HAVING count(DISTINCT class_name) > 1)""",
}


@dataclass(frozen=True)
class Lists:
    """What the manifest of the list of images says: the classes, the digests of the inputs, and the configuration."""

    classes: list[str]
    inputs: dict[str, Any]
    config: dict[str, Any]


def _lists(folder: str) -> Lists:
    about = directory.read_manifest(folder).about
    config, inputs = about.get("config"), about.get("inputs")
    if isinstance(config, dict) and isinstance(inputs, dict):
        classes = config.get("classes")
        if isinstance(classes, list) and all(isinstance(name, str) for name in classes):
            return Lists(classes, inputs, config)
    raise DataError(
        f"{files.join(folder, MANIFEST)}: its classes, inputs or configuration are missing or invalid; run ingest again "
        "with --force, or restore the file"
    )


class BuildTables:
    """The committed tables of a build in memory, without pictures; what has not been built is empty.

    So are tables that a stage has made from others than are there: their images may be gone, or have other rows.
    Nothing but these tables can be reached by a query. Raises DataError if there is not even a list of images.
    """

    def __init__(self, build: str) -> None:
        self.build = build
        self.lists = _lists(Layout(build).retrievals)
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
        if name == "images":  # where each picture lies
            table = table.append_column("position", pa.array(range(table.num_rows), pa.int64()))
        self.connection.register("arrived", table)
        self.connection.execute(f"CREATE TABLE {name} AS SELECT * FROM arrived")
        self.connection.unregister("arrived")

    def has(self, stage: str) -> bool:
        """Whether a stage (label, dedupe, split) has been finished."""
        return stage in self.finished

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        return self.connection.execute(query, list(parameters)).fetchall()

    def listing(self, query: str) -> Listing:
        """The count of a query, and its first rows in the order of its columns."""
        [(count,)] = self.rows(f"SELECT count(*) FROM ({query})")
        size = self._head_size()
        head = self.rows(f"SELECT * FROM ({query}) ORDER BY ALL LIMIT {size}") if size and count else []
        return Listing(count, tuple(map(_line, head)), query)

    def grouped(self, query: str, by: str) -> dict[Any, Listing]:
        """A listing for each value of the column `by`, which is the first of the query; the others are told."""
        others = [column[0] for column in self.connection.execute(f"DESCRIBE {query}").fetchall()][1:]
        order = ", ".join(f'"{name}"' for name in others)
        counts = dict(self.rows(f"SELECT {by}, count(*) FROM ({query}) GROUP BY ALL ORDER BY ALL"))
        heads: dict[Any, list[str]] = {key: [] for key in counts}
        sizes = {key: self._head_size() for key in counts}
        for key, *rest in self.rows(
            f"SELECT * FROM ({query}) QUALIFY row_number() OVER (PARTITION BY {by} ORDER BY {order}) <= {HEAD} "
            "ORDER BY ALL"
        ):
            if len(heads[key]) < sizes[key]:
                heads[key].append(_line(rest))
        return {
            key: Listing(count, tuple(heads[key]), f"SELECT * FROM ({query}) WHERE {by} = {sql_literal(key)}")
            for key, count in counts.items()
        }

    def _head_size(self) -> int:
        self._heads += 1
        return HEAD if self._heads <= HEADS_AT_MOST else 0

    def script(self) -> str:
        """What DuckDB must be told first, in the folder of the build, so that the queries of the report work."""
        lines = []
        for name, source in TABLES.items():
            if self._is_there(source) and directory.read_manifest(self._folder(source)).shards:
                lines.append(f"CREATE VIEW {name} AS FROM '{source.folder}/*.parquet';")
            else:
                columns = self.rows(f"DESCRIBE {name}")
                kinds = ", ".join(
                    f'"{column[0]}" {column[1]}' for column in columns if column[0] != "position"
                )
                lines.append(f"CREATE TABLE {name} ({kinds}); -- empty")
        return "\n".join([*lines, *(f"CREATE VIEW {name} AS{text};" for name, text in VIEWS.items())])


def sql_literal(value: Any) -> str:
    """A value as SQL has it; characters that are not seen by their number, so that a query can be read and copied."""
    if isinstance(value, int | float):
        return str(value)
    text = str(value).replace("'", "''")
    return "'" + "".join(f"' || chr({ord(c)}) || '" if is_unseen(c) else c for c in text) + "'"


def share_with_interval(part: int, whole: int) -> IntervalCell:
    """A share with its 95 % interval; none of them where the whole is 0."""
    bounds = wilson_interval(np.array([part]), np.array([whole]))
    return IntervalCell(*(None if np.isnan(bound[0]) else float(bound[0]) for bound in bounds))


def _line(row: Sequence[Any]) -> str:
    return " · ".join(str(value) for value in row if value is not None)
