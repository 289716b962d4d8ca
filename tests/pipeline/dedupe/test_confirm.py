import tracemalloc
from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import DedupeConfig
from pipeline.dedupe import confirm as module
from pipeline.dedupe.confirm import confirm_pairs
from pipeline.dedupe.leaks import find_leaks
from pipeline.dedupe.neighbors import HashPairs, distinct_hashes, near_pairs
from pipeline.ingest.fingerprint import Fingerprints
from tests.pipeline.dedupe.samples import NOISE, planted_hashes


def fingerprints(rng, n):
    """Short hashes that often repeat, and long hashes of which half are near another one."""
    short = rng.choice(planted_hashes(rng, n // 2), n)
    long = rng.integers(0, 256, (n, 32), np.uint8)
    for i in range(0, n, 2):
        long[i] = long[rng.integers(n)]
        long[i, : rng.integers(0, 20)] ^= np.uint8(255)
    return short, long


def always(a, b):
    return np.ones(len(a), bool)


def bits(a, b):
    return int(np.bitwise_count(a ^ b).sum())


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.sampled_from([0, 64, 128]))
def test_confirmed_pairs_equal_a_comparison_of_all_pairs(seed, radius):
    short, long = fingerprints(np.random.default_rng(seed), 60)
    hashes, repeats = distinct_hashes(short)
    near = HashPairs.join([near_pairs(hashes, 8), repeats])
    pairs, compared = confirm_pairs(short, long, near, radius, always)
    candidates = [(a, b) for a, b in combinations(range(60), 2) if bits(short[a], short[b]) <= 8]
    assert compared == len(candidates)
    expected = [(a, b) for a, b in candidates if bits(long[a], long[b]) <= radius]
    assert list(zip(pairs.a.tolist(), pairs.b.tolist(), strict=True)) == expected
    assert pairs.distance.tolist() == [bits(short[a], short[b]) for a, b in expected]
    assert pairs.distance_256.tolist() == [bits(long[a], long[b]) for a, b in expected]


def test_many_images_with_one_hash_are_confirmed_in_batches(monkeypatch):
    short, long = np.zeros(300, np.uint64), np.zeros((300, 32), np.uint8)
    long[::3] = 255
    _, repeats = distinct_hashes(short)
    whole = confirm_pairs(short, long, repeats, 0, always)
    monkeypatch.setattr(module, "PAIRS_PER_BATCH", 1000)
    parts = confirm_pairs(short, long, repeats, 0, always)
    assert parts[0].a.tolist() == whole[0].a.tolist()
    assert len(parts[0]) == 100 * 99 // 2 + 200 * 199 // 2
    assert parts[1] == 300 * 299 // 2


def test_pairs_that_do_not_satisfy_the_predicate_are_dropped():
    short, long = fingerprints(np.random.default_rng(1), 60)
    near = distinct_hashes(short)[1]
    whole, compared = confirm_pairs(short, long, near, 128, always)
    part, again = confirm_pairs(short, long, near, 128, lambda a, b: (a + b) % 2 == 0)
    assert compared == again
    even = (whole.a + whole.b) % 2 == 0
    assert 0 < even.sum() < len(whole)
    assert (part.a.tolist(), part.b.tolist()) == (whole.a[even].tolist(), whole.b[even].tolist())


def test_leaks_are_near_pairs_of_a_test_image_and_another_image():
    short, long = fingerprints(np.random.default_rng(3), 80)
    contrast = np.where(np.arange(80) % 5, 50, 1).astype(np.float32)
    is_test = np.arange(80) % 3 == 0
    result = find_leaks(
        Fingerprints(short, long, np.zeros((80, 3), np.uint64), contrast, contrast, np.tile(NOISE, (80, 1))),
        is_test,
        DedupeConfig(confirm_radius=128),
    )
    assert set(zip(result.a.tolist(), result.b.tolist(), strict=True)) == {
        (a, b)
        for a in range(80)
        for b in range(80)
        if is_test[a] and not is_test[b] and min(contrast[a], contrast[b]) >= 2
        and bits(short[a], short[b]) <= 8 and bits(long[a], long[b]) <= 128
    }  # fmt: skip
    assert len(result) > 0


def test_training_images_are_not_compared_with_each_other(monkeypatch):
    """A fixed camera gives thousands of frames with one hash, and so millions of pairs that are no leaks."""
    monkeypatch.setattr(module, "PAIRS_PER_BATCH", 1 << 14)
    n = 1500
    short, long = np.full(n, 5, np.uint64), np.zeros((n, 32), np.uint8)
    contrast, is_test = np.full(n, 50, np.float32), np.arange(n) == 700
    mirrored = np.random.default_rng(4).integers(1 << 40, 1 << 64, (n, 3), np.uint64)
    prints = Fingerprints(short, long, mirrored, contrast, contrast, np.tile(NOISE, (n, 1)))
    tracemalloc.start()
    result = find_leaks(prints, is_test, DedupeConfig())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (set(result.a), len(set(result.b.tolist())), len(result)) == ({700}, n - 1, n - 1)
    assert peak < 60_000_000  # all pairs would take 180 MB
