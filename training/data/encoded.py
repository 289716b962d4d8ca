"""Random access to the encoded images of Parquet shards in memory-mapped files.

A global shuffle reads images in any order, but Parquet reads whole row groups. The pipeline stores encoded images with
plain encoding and without compression, so their bytes are contiguous in the file. Opening a shard finds their offsets
by comparing the file with the values that Arrow reads. Images of shards in other encodings are kept in memory; if they
would take far more of it than their file does, that is an error (common/parquet_rows.py).
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

from common import parquet_rows
from common.errors import DataError
from schemas.manifest import Shard

COLUMN = "image.bytes"
HEAD = 12  # bytes to search for: the length of an image and its first bytes


@dataclass(frozen=True)
class EncodedImages:
    """The encoded images of a set, by row: views into mapped files, with 20 bytes of memory per image."""

    buffers: tuple[np.ndarray, ...]
    buffer_of: np.ndarray
    start: np.ndarray
    length: np.ndarray

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, row: int) -> np.ndarray:
        """Return the encoded image of a row as uint8 [length], without a copy."""
        start = self.start[row]
        return self.buffers[self.buffer_of[row]][start : start + self.length[row]]

    def take(self, rows: np.ndarray) -> "EncodedImages":
        """Return the images of some rows, int64 [n]."""
        return EncodedImages(self.buffers, self.buffer_of[rows], self.start[rows], self.length[rows])


def join(parts: Sequence[EncodedImages]) -> EncodedImages:
    """Concatenate the images of several shards."""
    first = np.cumsum([0, *(len(part.buffers) for part in parts)])
    return EncodedImages(
        tuple(buffer for part in parts for buffer in part.buffers),
        np.concatenate([part.buffer_of + n for part, n in zip(parts, first, strict=False)]).astype(np.int32),
        np.concatenate([part.start for part in parts]).astype(np.int64),
        np.concatenate([part.length for part in parts]).astype(np.int64),
    )


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Convert errors of Arrow inside the block to a DataError that names the file."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable Parquet file ({error}); build the set again") from error


def open_shard(path: Path, shard: Shard) -> tuple[mmap.mmap, pq.ParquetFile]:
    """Map a shard, check its SHA-256 and row count, and return the mapping and a Parquet reader of it.

    Raises DataError if the shard is missing, altered or unreadable.
    """
    if not path.is_file():
        raise DataError(
            f"{path}: the shard is listed in the manifest but missing; copy it or build the set again"
        )
    if path.stat().st_size != shard.bytes:
        raise DataError(
            f"{path}: altered since it was built (the size differs); copy it or build the set again"
        )
    with reading(path), path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if hashlib.sha256(mapped).hexdigest() != shard.sha256:
        raise DataError(
            f"{path}: altered since it was built (the SHA-256 differs); copy it or build the set again"
        )
    with reading(path):
        parquet = pq.ParquetFile(source(mapped))
    if parquet.metadata.num_rows != shard.rows:
        raise DataError(
            f"{path}: {parquet.metadata.num_rows} rows, but the manifest says {shard.rows}; build the set again"
        )
    return mapped, parquet


def locate_images(mapped: mmap.mmap, parquet: pq.ParquetFile) -> EncodedImages:
    """Return the images of one shard, as views of the mapped file or, if they are compressed, from memory."""
    file = source(mapped)
    probe = parquet_rows.Probe(file, parquet)
    parts = []
    for group in range(parquet.num_row_groups):
        (column,) = probe.columns(group, [COLUMN])
        start = column.data_page_offset
        values = _values(parquet_rows.batches(file, [COLUMN], [group], probe=probe))
        location = _locate(values, mapped, start, start + column.total_compressed_size)
        if location is None:
            return _in_memory(
                list(_values(parquet_rows.limit_expansion(parquet_rows.batches(file, [COLUMN]), file)))
            )
        parts.append(_in_file(mapped, *location))
    return join(parts) if parts else EncodedImages((), *(np.zeros(0, np.int64) for _ in range(3)))


def source(mapped: mmap.mmap) -> pa.BufferReader:
    """Return a mapped file as pyarrow reads it."""
    return pa.BufferReader(pa.py_buffer(mapped))


def _values(parts: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    for part in parts:
        for value in pc.struct_field(part["image"], "bytes").to_pylist():
            yield value or b""  # decoding an empty image raises the error


def _locate(
    values: Iterable[bytes], mapped: mmap.mmap, position: int, end: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return offset and length of each value in the file, or None if the values are not stored plain.

    Each plain value follows its length in four bytes; pages are separated by headers.
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


def _in_file(mapped: mmap.mmap, start: np.ndarray, length: np.ndarray) -> EncodedImages:
    return EncodedImages(
        (np.frombuffer(mapped, dtype=np.uint8),), np.zeros(len(start), np.int32), start, length
    )


def _in_memory(values: Sequence[bytes]) -> EncodedImages:
    length = np.array([len(value) for value in values], np.int64)
    joined = np.frombuffer(b"".join(values), dtype=np.uint8)
    return EncodedImages((joined,), np.zeros(len(values), np.int32), length.cumsum() - length, length)
