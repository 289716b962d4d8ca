"""Copies of sets from URLs: complete, resumed and refused."""

from pathlib import Path

import pytest

from common.errors import UsageError
from schemas.manifest import MANIFEST
from training.data.remote import local_copy
from training.data.shards import load


def test_an_interrupted_copy_goes_on_and_keeps_no_shard_of_another_build(
    dataset: Path, tmp_path: Path
) -> None:
    cache = local_copy(dataset.as_uri(), ["test"], tmp_path / "cache")
    (cache / "test" / MANIFEST).unlink()  # it is written last
    kept, other = sorted((cache / "test").glob("*.parquet"))
    other.write_bytes(other.read_bytes()[::-1])
    before = kept.stat().st_ino
    assert local_copy(dataset.as_uri(), ["test"], cache) == cache
    assert kept.stat().st_ino == before
    assert load(cache / "test").digest == load(dataset / "test").digest
    assert {path.name[0] for path in (cache / "test").iterdir()} == {"_", "t"}  # no temporary file is left


@pytest.mark.parametrize("data", ["http://example.org/data", "s4://bucket/data", "file://relative/data"])
def test_an_invalid_url_is_a_usage_error(tmp_path: Path, data: str) -> None:
    with pytest.raises(UsageError, match="give a folder or a URL such as s3://"):
        local_copy(data, ["test"], tmp_path)
