"""Read what a build has written, to compare builds."""

import hashlib
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet


def digests(folder: Path) -> dict[str, str]:
    """Digests of all files by path, without the metrics, which hold times."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {
        str(path): hashlib.sha256((folder / path).read_bytes()).hexdigest()
        for path in files
        if path.parts[0] != "metrics"
    }


def read(folder: Path) -> pa.Table:
    """All shards of a table."""
    return pa.concat_tables(parquet.read_table(path) for path in sorted(folder.glob("*.parquet")))


def rows(folder: Path) -> dict[str, dict]:
    """The examples of a set by image_id, without their images."""
    return {row["image_id"]: row for row in read(folder).drop_columns(["image"]).to_pylist()}
