"""Random access to the encoded pictures of Parquet shards: where each one lies in its memory-mapped file.

A global shuffle asks for any picture at any time, and Parquet reads whole row groups. But our shards store pictures
plain and uncompressed, so each lies in the file as it is. Where, is found while the shard is opened, by comparing
with what Arrow reads. Of shards that others wrote compressed, the pictures are held in memory instead.
"""

import contextlib
import hashlib
import mmap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from common.errors import DataError
from schemas.manifest import Shard

COLUMN = "image.bytes"
HEAD = 12  # bytes that tell where a picture may begin: its length, and the start of it


@dataclass(frozen=True)
class EncodedImages:
    """The encoded pictures of a set, by row: views into mapped files, 20 bytes of memory a picture."""

    buffers: tuple[np.ndarray, ...]
    buffer_of: np.ndarray
    start: np.ndarray
    length: np.ndarray

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, row: int) -> np.ndarray:
        """Return the encoded bytes of a row as uint8 [length], without a copy."""
        start = self.start[row]
        return self.buffers[self.buffer_of[row]][start : start + self.length[row]]

    def take(self, rows: np.ndarray) -> "EncodedImages":
        """Return the pictures of some rows."""
        return EncodedImages(self.buffers, self.buffer_of[rows], self.start[rows], self.length[rows])


def join(parts: Sequence[EncodedImages]) -> EncodedImages:
    """Put sets of pictures one after the other."""
    first = np.cumsum([0, *(len(part.buffers) for part in parts)])
    return EncodedImages(
        tuple(buffer for part in parts for buffer in part.buffers),
        np.concatenate([part.buffer_of + n for part, n in zip(parts, first, strict=False)]).astype(np.int32),
        np.concatenate([part.start for part in parts]).astype(np.int64),
        np.concatenate([part.length for part in parts]).astype(np.int64),
    )


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Inside the block, whatever Arrow stumbles over in a file becomes a DataError that names it."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path}: no readable Parquet file ({error}); build again") from error


def open_shard(path: Path, shard: Shard) -> tuple[mmap.mmap, pq.ParquetFile]:
    """Map a shard, check its hash and row count, and return the mapping and a reader of the same bytes.

    Raises DataError, naming file and remedy, if it is missing, altered or unreadable.
    """
    if not path.is_file():
        raise DataError(f"{path}: the manifest names this shard, but it is missing; copy it or build again")
    if path.stat().st_size != shard.bytes:
        raise DataError(f"{path}: altered since it was built (size differs); copy it again or build again")
    with reading(path), path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if hashlib.sha256(mapped).hexdigest() != shard.sha256:
        raise DataError(f"{path}: altered since it was built (SHA-256 differs); copy it again or build again")
    with reading(path):
        parquet = pq.ParquetFile(pa.BufferReader(pa.py_buffer(mapped)))
    if parquet.metadata.num_rows != shard.rows:
        raise DataError(
            f"{path}: {parquet.metadata.num_rows} rows, the manifest says {shard.rows}; build again"
        )
    return mapped, parquet


def locate_images(mapped: mmap.mmap, parquet: pq.ParquetFile) -> EncodedImages:
    """Find the pictures of one shard: in the mapped file, or, if they are not stored plain, in memory."""
    paths = [parquet.schema.column(i).path for i in range(len(parquet.schema))]
    leaf = paths.index(COLUMN)
    parts = []
    for group in range(parquet.num_row_groups):
        values = _values(parquet.read_row_group(group, columns=[COLUMN]))
        column = parquet.metadata.row_group(group).column(leaf)
        begin = column.data_page_offset
        found = _locate(values, mapped, begin, begin + column.total_compressed_size)
        parts.append(_held(values) if found is None else _mapped(mapped, *found))
    return join(parts) if parts else EncodedImages((), *(np.zeros(0, np.int64) for _ in range(3)))


def _values(table: pa.Table) -> list[bytes]:
    values: list[bytes | None] = pc.struct_field(table["image"].combine_chunks(), "bytes").to_pylist()
    return [value or b"" for value in values]  # a missing picture is refused where it is decoded


def _locate(
    values: Iterable[bytes], mapped: mmap.mmap, position: int, end: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return start and length of each value in the file, or None if one is not there as it is.

    Plain values follow each other, each after its length in four bytes; between pages there is a header.
    """
    starts, lengths = [], []
    for value in values:
        stored = len(value).to_bytes(4, "little") + value
        while mapped[position : position + len(stored)] != stored:
            position = mapped.find(stored[:HEAD], position + 1, end)
            if position < 0:
                return None
        starts.append(position + 4)
        lengths.append(len(value))
        position += len(stored)
    return np.array(starts, np.int64), np.array(lengths, np.int64)


def _mapped(mapped: mmap.mmap, start: np.ndarray, length: np.ndarray) -> EncodedImages:
    return EncodedImages(
        (np.frombuffer(mapped, dtype=np.uint8),), np.zeros(len(start), np.int32), start, length
    )


def _held(values: Sequence[bytes]) -> EncodedImages:
    length = np.array([len(value) for value in values], np.int64)
    joined = np.frombuffer(b"".join(values), dtype=np.uint8)
    return EncodedImages((joined,), np.zeros(len(values), np.int32), length.cumsum() - length, length)
