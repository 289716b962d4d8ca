"""Which pictures look like a test picture, from fingerprints alone: the proof that a finished dataset repeats."""

import numpy as np

from pipeline.dedupe.confirm import Pairs, confirm
from pipeline.dedupe.neighbours import Near, distinct, near_pairs
from pipeline.ingest.fingerprint import Fingerprints


def find_leaks(
    prints: Fingerprints, is_test: np.ndarray, radius: int, confirm_radius: int, min_contrast: float
) -> Pairs:
    """The near pairs (test picture, other picture) among n pictures, `is_test` bool (n,).

    Pictures of less than `min_contrast` all look alike and are in no pair.
    """
    telling = np.flatnonzero(prints.contrast >= min_contrast)
    hashes, repeats = distinct(prints.short[telling])
    near = Near.join([near_pairs(hashes, radius), repeats])
    pairs, _ = confirm(prints.short[telling], prints.long[telling], near, confirm_radius)
    a, b = telling[pairs.a], telling[pairs.b]
    leak = is_test[a] != is_test[b]
    test, other = np.where(is_test[a], a, b), np.where(is_test[a], b, a)
    return Pairs(test[leak], other[leak], pairs.distance[leak], pairs.distance_256[leak])
