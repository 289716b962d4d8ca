"""Reading committed folders: every shard is what the manifest states."""

import pyarrow as pa
import pytest
from pyarrow import parquet

from common.errors import DataError
from pipeline.shards import directory
from pipeline.shards.commit import commit
from pipeline.shards.parquet import write_shard
from schemas.verdict import VERDICT

NUMBERS = pa.schema([("number", pa.int64())])


@pytest.fixture
def table(tmp_path):
    """The path of a table of two shards."""
    folder = str(tmp_path / "numbers")
    stems = [directory.shard_stem("part", index, 2) for index in range(2)]
    rows = [pa.table({"number": [index, 10 + index]}, NUMBERS) for index in range(2)]
    staged = [write_shard(folder, stem, NUMBERS, [part]) for stem, part in zip(stems, rows, strict=True)]
    commit(folder, "numbers", staged, {})
    return tmp_path / "numbers"


def test_the_error_for_a_table_of_an_older_version_has_a_remedy(tmp_path):
    folder = str(tmp_path / "verdicts")
    older = VERDICT.schema.remove(VERDICT.schema.get_field_index("posterior"))
    rows = older.empty_table().from_pylist(
        [{name: "1" if pa.types.is_string(older.field(name).type) else 1 for name in older.names}], older
    )
    manifest = commit(folder, "verdict", [write_shard(folder, "part-00000-of-00001", older, [rows])], {})
    assert parquet.read_table(tmp_path / "verdicts" / manifest.shards[0].file).num_rows == 1
    with pytest.raises(
        DataError,
        match=r"cannot be read as a table of this version .*posterior.*; run the stage that writes it again",
    ):
        directory.read_table(folder, VERDICT)


def test_the_buckets_of_a_table_are_ranges_of_its_shards(table):
    shards = directory.read_manifest(str(table)).shards
    assert directory.by_bucket(shards, 2) == {0: [shards[0]], 1: [shards[1]]}
    assert directory.by_bucket(shards, 1) == {0: list(shards)}
    assert directory.read_bucket(str(table), shards, NUMBERS)["number"].to_pylist() == [0, 10, 1, 11]


def truncated(data: bytes) -> bytes:
    return data[:-1]


def longer(data: bytes) -> bytes:
    return data + b"\0"


def empty(data: bytes) -> bytes:
    return b""


@pytest.mark.parametrize("damage", [truncated, longer, empty])
def test_a_shard_of_another_size_is_never_read(table, damage):
    path = next(table.glob("*.parquet"))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"has \d+ bytes instead of \d+; .*--force"):
        list(directory.read_shards(str(table), ["number"]))
    assert directory.size_problem(str(table), directory.read_manifest(str(table)))


def test_a_shard_of_the_same_size_and_other_bytes_is_found_by_its_digest(table):
    path = sorted(table.glob("*.parquet"))[1]
    other = pa.table({"number": [1, 12]}, NUMBERS)
    staged = write_shard(str(table), "part-00001-of-00002", NUMBERS, [other])
    data = (table / "_staged" / staged.file).read_bytes()
    assert len(data) == path.stat().st_size
    path.write_bytes(data)
    assert directory.size_problem(str(table), directory.read_manifest(str(table))) is None
    with pytest.raises(DataError, match="its bytes differ from those that were written"):
        list(directory.read_shards(str(table), check_digests=True))


def test_a_shard_of_zeros_is_not_taken_for_a_whole_one(table):
    path = next(table.glob("*.parquet"))
    path.write_bytes(bytes(path.stat().st_size))
    assert "does not end like a Parquet file" in directory.size_problem(
        str(table), directory.read_manifest(str(table))
    )


def test_a_shard_that_is_missing_is_reported(table):
    next(table.glob("*.parquet")).unlink()
    with pytest.raises(DataError, match="is missing"):
        directory.check_sizes(str(table), directory.read_manifest(str(table)))


@pytest.mark.parametrize(
    "total",
    [str(2**34), str(2**65), "1" + "0" * 5000, "3", "0", "\u0662"],
    ids=["2^34", "2^65", "10^5000", "3", "0", "another digit two"],
)
def test_a_name_with_an_absurd_number_of_shards_is_an_error(total):
    with pytest.raises(DataError, match="does not state an index and a power of two below 10"):
        directory.shard_position(f"train-00000-of-{total}-0123456789abcdef.parquet")
    assert directory.shard_position(f"train-00000-of-{2**33}-0123456789abcdef.parquet") == (0, 2**33)
