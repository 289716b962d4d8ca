import hashlib
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from common.errors import DataError
from pipeline.shards.parquet import ROW_GROUP_ROWS, STAGED, write_shard
from schemas.table import IMAGE

SCHEMA = pa.schema([pa.field("id", pa.string()), pa.field("image", IMAGE)])


def rows(n):
    return pa.Table.from_pylist(
        [
            {"id": f"i{i % 7}", "image": {"bytes": bytes([i % 251]) * 50, "path": f"{i}.png"}}
            for i in range(n)
        ],
        SCHEMA,
    )


@settings(deadline=None, max_examples=20)
@given(cuts=st.lists(st.integers(0, 3000), max_size=6))
def test_the_bytes_do_not_depend_on_how_the_rows_arrive(cuts, tmp_path_factory):
    folder, table = str(tmp_path_factory.mktemp("shards")), rows(3000)
    edges = [0, *sorted(cuts), 3000]
    parts = [table.slice(a, b - a) for a, b in pairwise(edges)]
    assert (
        write_shard(folder, "part", SCHEMA, parts).shard == write_shard(folder, "part", SCHEMA, [table]).shard
    )


def test_the_manifest_entry_is_true(tmp_path):
    staged = write_shard(str(tmp_path), "part-00000-of-00001", SCHEMA, [rows(2500)])
    file, shard = tmp_path / STAGED / staged.file, staged.shard
    data = file.read_bytes()
    assert (shard.rows, shard.bytes, shard.sha256) == (2500, len(data), hashlib.sha256(data).hexdigest())
    assert shard.file == f"part-00000-of-00001-{shard.sha256[:16]}.parquet"
    assert parquet.read_table(file).equals(rows(2500))


def test_each_attempt_has_a_file_of_its_own(tmp_path):
    first, second = (write_shard(str(tmp_path), "part", SCHEMA, [rows(3)]) for _ in range(2))
    assert first.shard == second.shard
    assert first.file != second.file


def test_row_groups_are_sized_for_reading_and_pictures_are_stored_plain(tmp_path):
    staged = write_shard(str(tmp_path), "a", SCHEMA, [rows(2500)])
    result = parquet.ParquetFile(tmp_path / STAGED / staged.file).metadata
    assert [result.row_group(i).num_rows for i in range(result.num_row_groups)] == [
        ROW_GROUP_ROWS,
        ROW_GROUP_ROWS,
        452,
    ]
    by_path = {result.row_group(0).column(i).path_in_schema: result.row_group(0).column(i) for i in range(3)}
    assert by_path["image.bytes"].compression == "UNCOMPRESSED"
    assert by_path["id"].compression == "ZSTD"


def test_a_shard_with_more_images_than_a_table_can_hold_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.shards.parquet.MAX_IMAGE_BYTES", 50 * 100)
    write_shard(str(tmp_path), "part", SCHEMA, [rows(50), rows(50)])
    with pytest.raises(DataError, match=r"101 images of a shard .*make the stored images smaller"):
        write_shard(str(tmp_path), "part", SCHEMA, [rows(50), rows(51)])


def test_no_rows_no_file(tmp_path):
    assert write_shard(str(tmp_path), "a", SCHEMA, [rows(0)]) is None
    assert list(tmp_path.iterdir()) == []


def test_a_failure_while_writing_leaves_no_file(tmp_path):
    def broken():
        yield rows(2000)
        raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError):
        write_shard(str(tmp_path), "a", SCHEMA, broken())
    assert list((tmp_path / STAGED).iterdir()) == []
