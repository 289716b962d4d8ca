"""The features of one bucket of images: known ones are reused, the others computed in batches of a fixed size."""

import hashlib
from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np
import pyarrow as pa

from pipeline.embed.preprocess import Preprocessing, read_pixels
from schemas.feature import FEATURES, feature_schema


class FeatureNetwork(Protocol):
    """What this module needs of a network."""

    preprocessing: Preprocessing
    dimension: int

    def features(self, pixels: np.ndarray) -> np.ndarray:
        """Return features float16 [n, C] for pixels uint8 [n, size, size, 3]."""


def embed_images(
    images: pa.Table,
    known: Iterable[pa.Table],
    open_network: Callable[[], FeatureNetwork],
    batch_size: int,
    advance: Callable[[int], None],
) -> tuple[pa.Table, int]:
    """Return the features of the rows of `images`, in their order, and how many of them were computed.

    images: columns image_id and image. known: feature tables of the same network and input; their rows are matched by the
    digest of the encoded image. open_network: called only if features must be computed. advance: called with the number of
    images that are done.
    """
    ids = images["image_id"].to_pylist()
    encoded = images["image"].combine_chunks().field("bytes")
    digests = [hashlib.sha256(encoded[i].as_buffer()).hexdigest() for i in range(len(ids))]
    vectors, missing = _reuse(digests, known)
    advance(len(ids) - len(missing))
    if missing or vectors is None:
        network = open_network()
        if vectors is None:
            vectors = np.zeros((len(ids), network.dimension), np.float16)
        for start in range(0, len(missing), batch_size):
            rows = missing[start : start + batch_size]
            pixels = [read_pixels(encoded[row].as_py(), ids[row], network.preprocessing) for row in rows]
            vectors[rows] = network.features(np.stack(pixels))
            advance(len(rows))
    return feature_rows(ids, digests, vectors), len(missing)


def _reuse(digests: list[str], known: Iterable[pa.Table]) -> tuple[np.ndarray | None, list[int]]:
    """Return features float16 [n, C], filled where they are known (None if nothing is), and the rows to compute."""
    vectors: np.ndarray | None = None
    missing = dict(enumerate(digests))
    for table in known:
        rows = {digest: row for row, digest in enumerate(table["image_sha256"].to_pylist())}
        found = {index: rows[digest] for index, digest in missing.items() if digest in rows}
        if not found:
            continue
        matrix = feature_matrix(table)
        if vectors is None:
            vectors = np.zeros((len(digests), matrix.shape[1]), np.float16)
        vectors[list(found)] = matrix[list(found.values())]
        missing = {index: digest for index, digest in missing.items() if index not in found}
    return vectors, list(missing)


def feature_rows(ids: list[str], digests: list[str], vectors: np.ndarray) -> pa.Table:
    """Return a feature table of n rows with vectors float16 [n, C]."""
    dimension = vectors.shape[1]
    flat = pa.array(np.ascontiguousarray(vectors).reshape(-1), pa.float16())
    columns = [pa.array(ids), pa.array(digests), pa.FixedSizeListArray.from_arrays(flat, dimension)]
    return pa.table(columns, schema=feature_schema(dimension))


def feature_matrix(table: pa.Table) -> np.ndarray:
    """Return the vectors of a feature table, float16 [n, C], without copying them if they are in one piece."""
    column = table[FEATURES].combine_chunks()
    matrix: np.ndarray = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, column.type.list_size)
    return matrix
