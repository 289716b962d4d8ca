"""Find altered copies of test images among training images: crops, borders, text, mirrored (dedupe.neighbors).

Candidates are the nearest test images by features; a pair counts if the aligned images agree (`local_match`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.config import DedupeConfig
from pipeline.dedupe.feature_neighbors import nearest_tests
from pipeline.dedupe.local_match import SIDE, can_match, match_image, matches
from pipeline.ingest.normalize import decode_stored

MATCHED = pa.schema(
    [
        pa.field("image_id", pa.string()),
        pa.field("test_id", pa.string()),
        pa.field("match", pa.float32()),
        pa.field("is_mirrored", pa.bool_()),
    ]
)


@dataclass(frozen=True)
class TestImages:
    """What training images are compared with: m test images, sorted by id.

    ids: text (m,). levels: uint8 (m, SIDE, SIDE). vectors: `rounded_vectors`, int16 (m, C).
    """

    __test__ = False  # no test class of pytest

    ids: Sequence[str]
    levels: np.ndarray
    vectors: np.ndarray

    @classmethod
    def join(cls, parts: Iterable["TestImages"]) -> "TestImages":
        """Return the images of all parts, sorted by id."""
        some = [part for part in parts if len(part.ids)]
        if not some:
            return cls((), np.empty((0, SIDE, SIDE), np.uint8), np.empty((0, 0), np.int16))
        ids = np.array([image_id for part in some for image_id in part.ids], object)
        order = np.argsort(ids)
        levels, vectors = (np.concatenate([getattr(p, name) for p in some]) for name in ("levels", "vectors"))
        return cls([str(ids[i]) for i in order], levels[order], vectors[order])


def read_tests(
    ids: Sequence[str], encoded: Sequence[bytes], thumbnails: np.ndarray, vectors: np.ndarray
) -> TestImages:
    """Return the images of one part that can be matched: ids, encoded images, thumbnails uint8 (n, bytes), vectors (n, C)."""
    rows = np.flatnonzero(can_match(thumbnails))
    return TestImages([ids[int(i)] for i in rows], _levels([encoded[int(i)] for i in rows]), vectors[rows])


def find_copies(
    ids: Sequence[str],
    encoded: pa.Array,
    thumbnails: np.ndarray,
    vectors: np.ndarray,
    test: TestImages,
    config: DedupeConfig,
) -> tuple[pa.Table, int]:
    """Return the copies of test images among n training images, a table of MATCHED, and how many pairs were compared.

    encoded: binary (n,); only the images of candidate pairs are decoded. Of several test images the one with the highest
    match counts, then the one with the smaller id.
    """
    rows = np.flatnonzero(can_match(thumbnails)) if len(ids) else np.empty(0, np.int64)
    training, other = nearest_tests(vectors[rows], test.vectors, config.neighbors, config.min_similarity)
    training = rows[training]
    used, position = np.unique(training, return_inverse=True)
    levels = _levels([encoded[int(i)].as_py() for i in used])
    found = matches(levels[position], test.levels[other], config.orientations != "none")
    order = np.lexsort((other, -found.match, training))
    order = order[np.diff(training[order], prepend=-1) != 0]
    order = order[found.match[order] >= np.float32(config.min_match)]
    columns = [
        [ids[int(i)] for i in training[order]],
        [test.ids[int(i)] for i in other[order]],
        found.match[order],
        found.is_mirrored[order],
    ]
    return pa.table(columns, schema=MATCHED), len(training)


def _levels(encoded: Sequence[bytes]) -> np.ndarray:
    levels = [match_image(decode_stored(data)) for data in encoded]
    return np.stack(levels) if levels else np.empty((0, SIDE, SIDE), np.uint8)
