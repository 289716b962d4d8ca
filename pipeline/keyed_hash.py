"""The one hash behind every choice and every order: a function of (seed, purpose, id), never of arrival."""

from collections.abc import Iterable, Iterator
from hashlib import blake2b

import numpy as np
import pyarrow as pa


def keyed_hash(ids: Iterable[str], seed: int, purpose: str) -> np.ndarray:
    """Hash ids to uint64 (n,): independent and uniform for each (seed, purpose).

    BLAKE2b, keyed by `seed` and `purpose` (at most 64 bytes together).
    """
    key = f"{seed}/{purpose}".encode()
    digests = b"".join(blake2b(i.encode(), key=key, digest_size=8).digest() for i in ids)
    return np.frombuffer(digests, ">u8").astype(np.uint64)


def shard_key(ids: Iterable[str]) -> np.ndarray:
    """The place of an image in every sharded table, uint64 (n,): rows are sorted by it, shards are ranges of it.

    It takes no seed: tables of different stages and builds line up shard by shard.
    """
    return keyed_hash(ids, 0, "place")


def bucket(shard_keys: np.ndarray, buckets: int) -> np.ndarray:
    """The bucket of each place, int64 (n,), of `buckets` equal ranges; `buckets` is a power of two.

    Fewer buckets are unions of neighboring ones: a coarser table concatenates a finer one.
    """
    bits = buckets.bit_length() - 1
    assert buckets == 1 << bits
    return (
        (shard_keys >> np.uint64(64 - bits)).astype(np.int64) if bits else np.zeros(len(shard_keys), np.int64)
    )


def bucket_count(rows: int, rows_each: int, at_least: int = 1) -> int:
    """The power of two of buckets that holds `rows` at no more than about `rows_each` a bucket."""
    count = 1
    while count < at_least or count * rows_each < rows:
        count *= 2
    return count


def by_bucket(
    rows: pa.Table, buckets: int, shard_keys: np.ndarray | None = None
) -> Iterator[tuple[int, pa.Table]]:
    """Cut rows by the bucket of their image_id; the order within a bucket stays.

    shard_keys: uint64 (rows,), where the caller has them already.
    """
    if shard_keys is None:
        shard_keys = shard_key(rows["image_id"].to_pylist())
    yield from by_key(rows, bucket(shard_keys, buckets))


def by_key(rows: pa.Table, keys: np.ndarray) -> Iterator[tuple[int, pa.Table]]:
    """Cut rows by a key each, int64 (rows,); yield (key, its rows), keys ascending; the order within a key stays."""
    order = np.argsort(keys, kind="stable")
    found, starts = np.unique(keys[order], return_index=True)
    rows = rows.combine_chunks()  # taking from many chunks is slow
    for key, part in zip(found, np.split(order, starts[1:]), strict=False):
        yield int(key), rows.take(pa.array(part))
