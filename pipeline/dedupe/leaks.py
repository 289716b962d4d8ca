"""Find training images near test images, from fingerprints alone; `verify` repeats this on a finished dataset."""

import numpy as np

from pipeline.config import DedupeConfig
from pipeline.dedupe.confirm import DuplicatePairs
from pipeline.dedupe.neighbors import HashPairs, distinct_hashes, near_pairs
from pipeline.dedupe.orientations import confirm_oriented, oriented_hashes
from pipeline.dedupe.thumbnail_check import ThumbnailCheck
from pipeline.ingest.fingerprint import Fingerprints
from schemas.duplicate import SEARCHED_ORIENTATIONS


def find_leaks(prints: Fingerprints, is_test: np.ndarray, config: DedupeConfig) -> DuplicatePairs:
    """Return the near pairs (test image, other image) among n images; `is_test` bool (n,).

    Images with less than the configured contrast are in no pair: they all hash alike.
    """
    indices = np.flatnonzero(prints.contrast >= config.min_contrast)
    short, long, oriented = prints.short[indices], prints.long[indices], prints.orientations[indices]
    count = SEARCHED_ORIENTATIONS[config.orientations]
    hashes, repeats = distinct_hashes(oriented_hashes(short, oriented, count).reshape(-1))
    near = HashPairs.join([near_pairs(hashes, config.radius), repeats])
    thumbnails = ThumbnailCheck(prints.thumbnails[indices])
    pairs, _ = confirm_oriented(
        short, oriented, long, near, config.confirm_radius, thumbnails, count, is_test[indices]
    )
    a, b = indices[pairs.a], indices[pairs.b]
    test, other = np.where(is_test[a], a, b), np.where(is_test[a], b, a)
    return DuplicatePairs(test, other, pairs.distance, pairs.distance_256, pairs.orientation)
