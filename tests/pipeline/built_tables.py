"""Helpers that read what a build wrote."""

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet


def digests(folder: Path) -> dict[str, str]:
    """Return the digests of all files by path, except the metrics, which contain times."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {
        str(path): hashlib.sha256((folder / path).read_bytes()).hexdigest()
        for path in files
        if path.parts[0] != "metrics"
    }


def read(folder: Path) -> pa.Table:
    """Return all shards of a table as one table."""
    return pa.concat_tables(parquet.read_table(path) for path in sorted(folder.glob("*.parquet")))


def rows(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of a set by image id, without the images."""
    return {row["image_id"]: row for row in read(folder).drop_columns(["image"]).to_pylist()}
