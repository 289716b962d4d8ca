"""Encoded images of a build by position, read one row group at a time."""

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from io import BytesIO
from typing import IO

import pyarrow as pa
from pyarrow import parquet

from common import parquet_rows
from common.errors import DataError
from pipeline import files
from pipeline.ingest.normalize import decode_stored
from pipeline.layout import Layout
from pipeline.shards import directory
from schemas.table import UNREADABLE

_BYTES = "image.bytes"
GROUPS_HELD = 4  # cached row groups, of 1,024 images each

_MEDIA_TYPES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp"}


class StoredImages:
    """The encoded images of the ingest stage, by position in its shards; neighbors share a row group."""

    def __init__(self, build: str) -> None:
        folder = Layout(build).images
        self.paths: list[str] = []
        self.starts: list[int] = []  # position of the first image of each shard
        total = 0
        for shard in directory.read_manifest(folder).shards:
            self.paths.append(files.join(folder, shard.file))
            self.starts.append(total)
            total += shard.rows
        self.count = total
        self._group = lru_cache(GROUPS_HELD)(self._read_group)
        self._firsts = lru_cache(None)(self._read_firsts)

    def read(self, position: int) -> bytes:
        """Return the encoded image at a position. Raises IndexError for a position out of range."""
        if not 0 <= position < self.count:
            raise IndexError(position)
        shard = bisect_right(self.starts, position) - 1
        row = position - self.starts[shard]
        firsts = self._firsts(shard)
        group = bisect_right(firsts, row) - 1
        return bytes(self._group(shard, group)[row - firsts[group]].as_py())

    def _read_firsts(self, shard: int) -> list[int]:
        """Return the first row of each row group of a shard."""
        with self._opened(shard) as file:
            metadata = parquet.ParquetFile(file).metadata
        firsts, row = [], 0
        for group in range(metadata.num_row_groups):
            firsts.append(row)
            row += metadata.row_group(group).num_rows
        return firsts

    def _read_group(self, shard: int, group: int) -> pa.ChunkedArray:
        with self._opened(shard) as file:
            parts = parquet_rows.limit_expansion(parquet_rows.batches(file, [_BYTES], [group]), file)
            return pa.chunked_array([part["image"].field("bytes") for part in parts], pa.binary())

    @contextmanager
    def _opened(self, shard: int) -> Iterator[IO[bytes]]:
        """Open a shard. Raises DataError, also if the block cannot read it."""
        path = self.paths[shard]
        try:
            with files.open_read(path) as file:
                yield file
        except (KeyError, *UNREADABLE) as error:
            raise DataError(f"{path}: cannot read images ({error}); run ingest again with --force") from error


def media_type(encoded: bytes) -> str:
    """Return the media type of an encoded image, from its first bytes."""
    return next(
        (name for start, name in _MEDIA_TYPES.items() if encoded.startswith(start)),
        "application/octet-stream",
    )


def thumbnail(encoded: bytes, side: int, quality: int = 75) -> bytes:
    """Return an image as WebP, scaled down to at most `side` pixels in width and height."""
    image = decode_stored(encoded).convert("RGB")
    image.thumbnail((side, side))
    buffer = BytesIO()
    image.save(buffer, "WEBP", quality=quality, method=4)
    return buffer.getvalue()
