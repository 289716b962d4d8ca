"""The hash behind every choice and every order: a function of (seed, purpose, id), never of the order of arrival."""

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import islice
from typing import TypeAlias

import numpy as np
import pyarrow as pa

Ids: TypeAlias = Iterable[str] | pa.Array | pa.ChunkedArray
_IDS_TOGETHER = 1 << 16  # Python strings that exist at once


def keyed_hash(ids: Ids, seed: int, purpose: str) -> np.ndarray:
    """Hash ids to uint64 (n,): independent and uniform for each (seed, purpose).

    BLAKE2b, keyed by `seed` and `purpose` (at most 64 bytes together).
    """
    keyed = blake2b(key=f"{seed}/{purpose}".encode(), digest_size=8)
    parts = [np.empty(0, np.uint64)]
    for piece in _pieces(ids):
        digests = []
        for each in piece:
            state = keyed.copy()  # half the time of a new state
            state.update(each.encode())
            digests.append(state.digest())
        parts.append(np.frombuffer(b"".join(digests), ">u8").astype(np.uint64))
    return np.concatenate(parts)


def _pieces(ids: Ids) -> Iterator[list[str]]:
    if isinstance(ids, pa.Array | pa.ChunkedArray):
        for start in range(0, len(ids), _IDS_TOGETHER):
            yield ids.slice(start, _IDS_TOGETHER).to_pylist()
        return
    rest: Iterator[str] = iter(ids)
    while piece := list(islice(rest, _IDS_TOGETHER)):
        yield piece


def shard_key(ids: Ids) -> np.ndarray:
    """Return the shard keys of images, uint64 (n,): tables are sorted by them, and shards are ranges of them.

    They do not depend on a seed, so that tables of different stages and builds line up shard by shard.
    """
    return keyed_hash(ids, 0, "place")


def bucket(shard_keys: np.ndarray, buckets: int) -> np.ndarray:
    """Return the bucket of each shard key, int64 (n,): one of `buckets` equal ranges; `buckets` is a power of two.

    With fewer buckets, each is a union of neighboring ones.
    """
    bits = buckets.bit_length() - 1
    assert buckets == 1 << bits
    return (
        (shard_keys >> np.uint64(64 - bits)).astype(np.int64) if bits else np.zeros(len(shard_keys), np.int64)
    )


def bucket_count(rows: int, rows_each: int, at_least: int = 1) -> int:
    """Return the smallest power of two of buckets, at least `at_least`, with about `rows_each` of `rows` rows or fewer each."""
    count = 1
    while count < at_least or count * rows_each < rows:
        count *= 2
    return count


def by_bucket(
    rows: pa.Table, buckets: int, shard_keys: np.ndarray | None = None
) -> Iterator[tuple[int, pa.Table]]:
    """Yield (bucket, its rows), by the bucket of each image_id; the order within a bucket stays.

    shard_keys: uint64 (rows,), computed from image_id by default.
    """
    if shard_keys is None:
        shard_keys = shard_key(rows["image_id"].to_pylist())
    yield from by_key(rows, bucket(shard_keys, buckets))


def by_key(rows: pa.Table, keys: np.ndarray) -> Iterator[tuple[int, pa.Table]]:
    """Yield (key, its rows) for keys, int64 (rows,), ascending; the order within a key stays."""
    order = np.argsort(keys, kind="stable")
    distinct, starts = np.unique(keys[order], return_index=True)
    rows = rows.combine_chunks()  # taking from many chunks is slow
    for key, part in zip(distinct, np.split(order, starts[1:]), strict=False):
        yield int(key), rows.take(pa.array(part))
