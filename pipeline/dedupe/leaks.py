"""Which pictures look like a test picture, from fingerprints alone: the proof that a finished dataset repeats."""

import numpy as np

from pipeline.config import DedupeConfig
from pipeline.dedupe.confirm import DuplicatePairs, confirm_pairs
from pipeline.dedupe.neighbors import HashPairs, distinct_hashes, near_pairs
from pipeline.dedupe.orientations import confirm_oriented, oriented_hashes
from pipeline.dedupe.thumbnail_check import ThumbnailCheck
from pipeline.ingest.fingerprint import Fingerprints


def find_leaks(prints: Fingerprints, is_test: np.ndarray, config: DedupeConfig) -> DuplicatePairs:
    """The near pairs (test picture, other picture) among n pictures, `is_test` bool (n,).

    Pictures of less contrast than the configured one all look alike and are in no pair.
    """
    telling = np.flatnonzero(prints.contrast >= config.min_contrast)
    short, long, turned = prints.short[telling], prints.long[telling], prints.orientations[telling]
    hashes, repeats = distinct_hashes(
        oriented_hashes(short, turned).reshape(-1) if config.orientations else short
    )
    near = HashPairs.join([near_pairs(hashes, config.radius), repeats])
    thumbnails = ThumbnailCheck(prints.thumbnails[telling])
    if config.orientations:
        pairs, _ = confirm_oriented(short, turned, long, near, config.confirm_radius, thumbnails)
    else:
        pairs, _ = confirm_pairs(short, long, near, config.confirm_radius, thumbnails.agree)
    a, b = telling[pairs.a], telling[pairs.b]
    leak = is_test[a] != is_test[b]
    test, other = np.where(is_test[a], a, b), np.where(is_test[a], b, a)
    return DuplicatePairs(test, other, pairs.distance, pairs.distance_256, pairs.orientation)[leak]
