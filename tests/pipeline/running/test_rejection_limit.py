"""The rejection limit: exactly the allowed share of rejections passes."""

import pytest

from common.errors import DataError
from pipeline.running.rejection_limit import check_lists, check_share
from pipeline.shards import commit
from pipeline.shards.parquet import write_shard
from schemas.rejection import REJECTION
from schemas.retrieval import RETRIEVAL

# In floats, 0.29 * 100 < 29, 0.07 * 100 > 7 and 0.57 * 300 < 171.
SHARES = [(0.29, 29, 100), (0.07, 7, 100), (0.57, 171, 300), (0.0, 0, 10), (1.0, 10, 10)]


def tables(folder, rejected, rows):
    """Write tables with so many rejections of so many rows of one list, and return both folders and a manifest."""
    written = []
    for table, count in ((REJECTION, rejected), (RETRIEVAL, rows - rejected)):
        empty = table.schema.empty_table()
        values = {
            "location": "web.csv:1",
            "class_name": "ant",
            "code": "missing_file",
            "detail": "no such file",
        }
        columns = {
            field.name: [values.get(field.name, None if field.nullable else "")] * count
            for field in empty.schema
        }
        path = str(folder / table.name)
        staged = write_shard(
            path, "part-00000-of-00001", empty.schema, [empty.from_pydict(columns, empty.schema)]
        )
        counts = {"counts": {"missing_file": count} if count else {}}
        written.append((path, commit.commit(path, table.name, [staged] if staged else [], counts)))
    (rejections, manifest), (retrievals, _) = written
    return rejections, retrievals, manifest


@pytest.mark.parametrize(("limit", "rejected", "rows"), SHARES)
def test_the_allowed_share_passes_and_one_more_row_does_not(tmp_path, limit, rejected, rows):
    def check(folder, rejected):
        rejections, retrievals, manifest = tables(folder, rejected, rows)
        check_share("ingest", manifest, rejections, rows, limit, "rows")
        check_lists(rejections, retrievals, {"web.csv": "web"}, limit)

    check(tmp_path / "exact", rejected)
    if rejected < rows:
        with pytest.raises(DataError, match=f"{rejected + 1} of {rows} rows were rejected"):
            check(tmp_path / "more", rejected + 1)
