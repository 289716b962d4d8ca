"""Which pictures look like a test picture, from fingerprints alone: the proof that a finished dataset repeats."""

import numpy as np

from pipeline.config import DedupeConfig
from pipeline.dedupe.confirm import Pairs, confirm
from pipeline.dedupe.neighbors import Near, distinct, near_pairs
from pipeline.dedupe.turns import confirm_turned, turned_short
from pipeline.dedupe.witness import Witness
from pipeline.ingest.fingerprint import Fingerprints


def find_leaks(prints: Fingerprints, is_test: np.ndarray, config: DedupeConfig) -> Pairs:
    """The near pairs (test picture, other picture) among n pictures, `is_test` bool (n,).

    Pictures of less contrast than the configured one all look alike and are in no pair.
    """
    telling = np.flatnonzero(prints.contrast >= config.min_contrast)
    short, long, turned = prints.short[telling], prints.long[telling], prints.orientations[telling]
    hashes, repeats = distinct(turned_short(short, turned).reshape(-1) if config.turns else short)
    near = Near.join([near_pairs(hashes, config.radius), repeats])
    witness = Witness(prints.thumbnails[telling])
    if config.turns:
        pairs, _ = confirm_turned(short, turned, long, near, config.confirm_radius, witness)
    else:
        pairs, _ = confirm(short, long, near, config.confirm_radius, witness.agree)
    a, b = telling[pairs.a], telling[pairs.b]
    leak = is_test[a] != is_test[b]
    test, other = np.where(is_test[a], a, b), np.where(is_test[a], b, a)
    return Pairs(test, other, pairs.distance, pairs.distance_256, pairs.turn)[leak]
