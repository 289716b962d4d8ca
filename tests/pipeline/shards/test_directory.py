"""Reading committed folders."""

import pyarrow as pa
import pytest
from pyarrow import parquet

from pipeline import files
from pipeline.shards.directory import commit, open_for_writing, read_table
from pipeline.shards.parquet import write_shard
from schemas.errors import DataError
from schemas.manifest import MANIFEST
from schemas.verdict import VERDICT


def test_a_table_of_an_older_version_is_told_with_the_remedy(tmp_path):
    place = str(tmp_path / "verdicts")
    open_for_writing(place)
    older = VERDICT.schema.remove(VERDICT.schema.get_field_index("posterior"))
    rows = older.empty_table().from_pylist(
        [{name: "1" if pa.types.is_string(older.field(name).type) else 1 for name in older.names}], older
    )
    commit(place, "verdict", [write_shard(place, "part-00000-of-00001.parquet", older, [rows])], {})
    assert parquet.read_table(tmp_path / "verdicts" / "part-00000-of-00001.parquet").num_rows == 1
    with pytest.raises(
        DataError, match=r"no table of this version .*posterior.*; run the stage that writes it again"
    ):
        read_table(place, VERDICT)


def test_a_committed_folder_holds_its_shards_and_nothing_of_a_writer_killed_in_the_same_run(tmp_path):
    place = tmp_path / "verdicts"
    open_for_writing(str(place))
    (place / f"{files.TEMPORARY}5f-part-00000-of-00001.parquet").write_bytes(b"half")
    name = "part-00000-of-00001.parquet"
    rows = pa.table({"place": [1, 2]})
    commit(str(place), "any", [write_shard(str(place), name, rows.schema, [rows])], {})
    assert sorted(file.name for file in place.iterdir()) == [MANIFEST, name]
