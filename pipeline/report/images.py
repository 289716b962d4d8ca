"""StoredImages of a build by their position, read a row group at a time."""

from bisect import bisect_right
from functools import lru_cache
from io import BytesIO

import pyarrow as pa
from pyarrow import parquet

from common.errors import DataError
from pipeline import files
from pipeline.ingest.normalize import decode_stored
from pipeline.layout import Layout
from pipeline.shards import directory

GROUPS_HELD = 4  # row groups of pictures in memory, of 1,024 each

_KINDS = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp"}


class StoredImages:
    """The pictures of the ingest stage. Positions count through its shards; neighbors share a row group."""

    def __init__(self, build: str) -> None:
        folder = Layout(build).images
        self.paths: list[str] = []
        self.starts: list[int] = []  # the position of each shard's first picture
        total = 0
        for shard in directory.read_manifest(folder).shards:
            self.paths.append(files.join(folder, shard.file))
            self.starts.append(total)
            total += shard.rows
        self.count = total
        self._group = lru_cache(GROUPS_HELD)(self._read_group)
        self._firsts = lru_cache(None)(self._read_firsts)

    def read(self, position: int) -> bytes:
        """The picture at a position, encoded. Raises IndexError if there is none."""
        if not 0 <= position < self.count:
            raise IndexError(position)
        shard = bisect_right(self.starts, position) - 1
        row = position - self.starts[shard]
        firsts = self._firsts(shard)
        group = bisect_right(firsts, row) - 1
        return bytes(self._group(shard, group)[row - firsts[group]].as_py())

    def _read_firsts(self, shard: int) -> list[int]:
        """The first row of each row group of a shard."""
        with files.open_read(self.paths[shard]) as file:
            metadata = parquet.ParquetFile(file).metadata
        firsts, row = [], 0
        for group in range(metadata.num_row_groups):
            firsts.append(row)
            row += metadata.row_group(group).num_rows
        return firsts

    def _read_group(self, shard: int, group: int) -> pa.ChunkedArray:
        path = self.paths[shard]
        try:
            with files.open_read(path) as file:
                table = parquet.ParquetFile(file).read_row_group(group, columns=["image.bytes"])
            return pa.compute.struct_field(table["image"], "bytes")
        except (pa.ArrowException, KeyError, OSError) as error:
            raise DataError(
                f"{path}: no readable pictures ({error}); run ingest again with --force"
            ) from error


def kind(encoded: bytes) -> str:
    """The media type of a stored picture, told by its first bytes."""
    return next(
        (name for start, name in _KINDS.items() if encoded.startswith(start)), "application/octet-stream"
    )


def thumbnail(encoded: bytes, side: int, quality: int = 75) -> bytes:
    """A picture at most `side` pixels wide and high, as WebP; a smaller one keeps its size."""
    with decode_stored(encoded) as image:
        image.thumbnail((side, side))
        held = BytesIO()
        image.save(held, "WEBP", quality=quality, method=4)
    return held.getvalue()
