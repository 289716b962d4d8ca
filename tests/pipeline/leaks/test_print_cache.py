"""The cache of fingerprints: its types, files of earlier versions, and what a killed run leaves."""

import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from common.errors import DataError
from pipeline.ingest.fingerprint import Fingerprints, byte_rows, fingerprint
from pipeline.leaks import print_cache
from pipeline.leaks.print_cache import SCHEMA, PrintCache
from tests.pipeline.dedupe.samples import photograph

PRINTS = fingerprint([photograph(i) for i in range(3)])
LEVELS = np.arange(3 * 4096, dtype=np.uint32).astype(np.uint8).reshape(3, 4096)


def row(number: int) -> dict:
    levels = {"levels": LEVELS[number].tobytes(), "vector": [number, -number]}
    return {"sha256": f"{number:064x}", **PRINTS.columns(number), **levels}


def test_no_type_overflows_where_many_images_are_together():
    """Types with 32-bit offsets fail in `take` from 2 GiB on: half a million images."""
    small = (pa.types.is_string, pa.types.is_binary, pa.types.is_list, pa.types.is_map)
    for field in SCHEMA:
        is_fixed = pa.types.is_fixed_size_binary(field.type)
        assert is_fixed or not any(is_small(field.type) for is_small in small), field


def test_rows_come_back_from_the_file_as_they_were_added(tmp_path):
    file = str(tmp_path / "prints.parquet")
    cache = PrintCache(file, "versions")
    for number in (2, 0, 1):
        cache.add([row(number)])
    cache.save()
    for each in (cache, PrintCache(file, "versions")):
        rows = each.rows([f"{number:064x}" for number in (0, 2)])
        assert (Fingerprints.from_table(rows).thumbnails == PRINTS.thumbnails[[0, 2]]).all()
        assert (byte_rows(rows["levels"]) == LEVELS[[0, 2]]).all()
        assert rows["vector"].to_pylist() == [[0, 0], [2, -2]]
    assert PrintCache(file, "other versions").loaded == 0


def test_a_killed_run_leaves_what_it_had_saved(tmp_path, monkeypatch):
    file = tmp_path / "prints.parquet"
    cache = PrintCache(str(file), "versions")
    cache.add([row(0)])
    assert not file.exists()
    monkeypatch.setattr(print_cache, "SAVE_SECONDS", 0)
    monkeypatch.setattr(print_cache, "SAVE_SHARE", 0)
    cache = PrintCache(str(file), "versions")
    for number in range(2):
        cache.add([row(number)])
        assert PrintCache(str(file), "versions").loaded == number + 1


def test_a_file_with_the_types_of_an_earlier_version_is_computed_again(tmp_path):
    old_types = {"sha256": pa.string(), "levels": pa.binary(), "vector": pa.list_(pa.int16())}
    old = pa.schema([pa.field(each.name, old_types.get(each.name, each.type)) for each in SCHEMA])
    made_by = {"made_by": sha256(json.dumps("versions").encode()).hexdigest()}
    file = tmp_path / "prints.parquet"
    pq.write_table(pa.Table.from_pylist([row(0)], old).replace_schema_metadata(made_by), file)
    cache = PrintCache(str(file), "versions")
    assert cache.loaded == 0
    cache.add([row(1)])
    cache.save()
    assert PrintCache(str(file), "versions").loaded == 1


def test_a_table_of_someone_else_is_not_overwritten(tmp_path):
    file = Path(tmp_path / "prints.parquet")
    pq.write_table(pa.table({"sha256": ["x"]}), file)
    with pytest.raises(DataError, match="not a cache of `leaks`"):
        PrintCache(str(file), "versions")


def test_bytes_are_the_same_from_one_chunk_several_slices_and_none():
    column = pa.chunked_array([pa.array([b"ab", b"cd", b"ef"], pa.binary(2)).slice(1)])
    assert byte_rows(column).tolist() == [[99, 100], [101, 102]]
    both = pa.chunked_array([*column.chunks, *column.slice(1).chunks])
    assert byte_rows(both).tolist() == [[99, 100], [101, 102], [101, 102]]
    assert byte_rows(column.slice(2)).shape == (0, 2)
