"""Files of a few kilobytes that stand for gigabytes, in every encoding that repeats a value; and equality with pyarrow."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from common import parquet_rows
from pipeline.verify import batches as verify_batches
from schemas.table import UNREADABLE

ROWS = 20_000
LONG = 10_000
ENCODINGS = {
    "dictionary": {"use_dictionary": True, "dictionary_pagesize_limit": 1 << 24},
    "prefixes": {"use_dictionary": False, "column_encoding": {"a": "DELTA_BYTE_ARRAY"}},
    "zstd": {"use_dictionary": False, "compression": "zstd"},
}


@pytest.fixture(autouse=True)
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundredth of the real limit, so that the tests need little memory."""
    monkeypatch.setattr(parquet_rows, "BYTES_AT_ONCE", 2_000_000)


def bomb(path: Path, kind: pa.DataType, encoding: str) -> Path:
    """Write ROWS equal values of LONG bytes."""
    value = pa.scalar(b"x" * LONG, pa.binary()).cast(kind)
    values = pa.DictionaryArray.from_arrays(pa.array([0] * ROWS, pa.int16()), pa.array([value.as_py()], kind))
    table = pa.table({"n": range(ROWS), "a": values})
    parquet.write_table(table, path, store_schema=False, **ENCODINGS[encoding])
    assert path.stat().st_size < 1_000_000
    return path


@pytest.mark.parametrize("encoding", ["dictionary", "prefixes"])
@pytest.mark.parametrize("kind", [pa.string(), pa.binary()])
def test_a_value_that_the_file_repeats_is_read_in_small_batches(tmp_path, kind, encoding):
    path = bomb(tmp_path / "bomb.parquet", kind, encoding)
    rows: list[int] = []
    for batch in parquet_rows.batches(str(path)):
        assert batch.nbytes <= 2 * parquet_rows.BYTES_AT_ONCE
        rows += batch["n"].to_pylist()
    assert rows == list(range(ROWS))


def test_a_page_that_expands_is_refused(tmp_path):
    path = bomb(tmp_path / "bomb.parquet", pa.string(), "zstd")
    with pytest.raises(pa.ArrowInvalid, match="the values of column 'a' need"):
        list(parquet_rows.batches(path))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_table_that_is_much_larger_than_its_file_is_not_held(tmp_path, encoding):
    path = bomb(tmp_path / "bomb.parquet", pa.string(), encoding)
    with pytest.raises(pa.ArrowInvalid, match="bytes or more in memory, but"):
        parquet_rows.read_table(path)


def test_columns_that_are_not_asked_for_do_not_count(tmp_path):
    path = bomb(tmp_path / "bomb.parquet", pa.string(), "dictionary")
    assert parquet_rows.read_table(str(path), ["n"])["n"].to_pylist() == list(range(ROWS))


def test_nested_values_are_limited_too(tmp_path):
    values = pa.array([{"bytes": b"x" * LONG, "path": None}] * ROWS)
    parquet.write_table(pa.table({"image": values}), tmp_path / "images.parquet")
    sizes = [batch.nbytes for batch in parquet_rows.batches(tmp_path / "images.parquet", ["image.bytes"])]
    assert len(sizes) > 1
    assert max(sizes) <= parquet_rows.BYTES_AT_ONCE
    numbers = pa.array([[0] * 3_000_000], pa.list_(pa.int32()))
    parquet.write_table(pa.table({"numbers": numbers}), tmp_path / "numbers.parquet")
    with pytest.raises(pa.ArrowInvalid, match="the values of column 'numbers"):
        list(parquet_rows.batches(tmp_path / "numbers.parquet"))


def test_rows_of_nulls_that_take_no_space_are_not_held(tmp_path):
    parquet.write_table(pa.table({"a": pa.nulls(3_000_000, pa.string())}), tmp_path / "nulls.parquet")
    with pytest.raises(pa.ArrowInvalid, match="bytes or more in memory"):
        parquet_rows.read_table(tmp_path / "nulls.parquet")


def test_honest_files_are_read_as_pyarrow_reads_them(tmp_path):
    table = pa.table(
        {
            "b": pa.array([f"id-{i:05d}" for i in range(5_000)]),
            "a": pa.array(["one", None, "two", ""] * 1_250).dictionary_encode(),
            "v": pa.array([np.arange(3, dtype=np.float32)] * 5_000, pa.list_(pa.float32(), 3)),
            "f": pa.array([b"1234"] * 5_000, pa.binary(4)),
            "s": pa.array([{"bytes": b"x", "path": "p"}] * 5_000),
        }
    )
    path = tmp_path / "table.parquet"
    parquet.write_table(table, path, row_group_size=1_000)
    assert parquet_rows.read_table(path).equals(parquet.read_table(path))
    assert parquet_rows.read_table(path).schema.equals(table.schema)
    assert parquet_rows.read_table(path, ["a", "b"]).column_names == ["a", "b"]
    parquet.write_table(table.slice(0, 0), path)
    assert parquet_rows.read_table(path).equals(table.slice(0, 0))


@pytest.mark.parametrize(("names", "problem"), [(["a", "a"], "more than once"), (["b", "c"], "is missing")])
def test_a_missing_or_repeated_column_is_an_error(tmp_path, names, problem):
    parquet.write_table(pa.table([[1], [2]], names=names), tmp_path / "table.parquet")
    with pytest.raises(pa.ArrowInvalid, match=problem):
        parquet_rows.read_table(tmp_path / "table.parquet", ["a"])


def test_damaged_footers_are_errors_and_do_not_end_the_process(tmp_path):
    table = pa.table({"a": ["x", "y"], "image": [{"bytes": b"x", "path": "p"}] * 2, "n": [[1], [2]]})
    path = tmp_path / "table.parquet"
    parquet.write_table(table, path)
    data = path.read_bytes()
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    outcomes = set()
    for position in range(start, len(data) - 8):
        for change in (1, 3):  # the lowest bit is the sign of a number
            path.write_bytes(data[:position] + bytes([data[position] ^ change]) + data[position + 1 :])
            try:
                outcomes.add(parquet_rows.read_table(path).num_rows)
            except UNREADABLE as error:
                outcomes.add(type(error).__name__)
    assert {outcome for outcome in outcomes if isinstance(outcome, int)} == {2}
    assert "OSError" in outcomes


def test_a_row_group_is_probed_once(tmp_path):
    """The first page of a shard of images holds all of its images: three readings took thrice the time and traffic."""
    read = []

    class Counted(io.BytesIO):
        def read(self, size=-1):
            data = super().read(size)
            read.append(len(data))
            return data

    image = pa.array([{"bytes": bytes([i % 256]) * 1_000, "path": None} for i in range(1_000)])
    sink = io.BytesIO()
    parquet.write_table(pa.table({"image": image}), sink, use_dictionary=False, compression="none")
    assert sum(table.num_rows for table in verify_batches.batches(Counted(sink.getvalue()))) == 1_000
    assert sum(read) < 2.5 * len(sink.getvalue())
