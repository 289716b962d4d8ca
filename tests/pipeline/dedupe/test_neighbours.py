import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dedupe.neighbours import Pairs, search


def brute_force(short, long, radius, confirm):
    found = []
    for a in range(len(short)):
        for b in range(a + 1, len(short)):
            near = int(short[a] ^ short[b]).bit_count()
            far = sum(int(x ^ y).bit_count() for x, y in zip(long[a], long[b], strict=True))
            if near <= radius and far <= confirm:
                found.append((a, b, near, far))
    return found


def listed(pairs):
    return list(
        zip(*(getattr(pairs, n).tolist() for n in ("a", "b", "distance", "distance_256")), strict=True)
    )


def hashes(rng, n):
    """Hashes with planted neighbours at every distance."""
    short, long = rng.integers(0, 2**64, n, np.uint64), rng.integers(0, 256, (n, 32), np.uint8)
    for i in range(1, n, 2):
        flips = rng.permutation(64)[: rng.integers(0, 14)]
        short[i] = short[i - 1] ^ np.bitwise_or.reduce(
            np.uint64(1) << flips.astype(np.uint64), initial=np.uint64(0)
        )
        long[i] = long[i - 1]
        long[i, : rng.integers(0, 20)] ^= np.uint8(255)
    return short, long


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.integers(0, 12), st.sampled_from([0, 64, 128]))
def test_search_finds_what_comparing_all_with_all_finds(seed, radius, confirm):
    short, long = hashes(np.random.default_rng(seed), 60)
    found, candidates = search(short, long, radius, confirm)
    assert sorted(listed(found)) == brute_force(short, long, radius, confirm)
    assert candidates >= len(found)


def test_blocks_of_rows_add_up_to_the_whole_also_across_tiles():
    short, long = hashes(np.random.default_rng(1), 9000)  # wider than a tile
    whole, candidates = search(short, long, 8, 64)
    parts = [search(short, long, 8, 64, start, start + 1000) for start in range(0, 9000, 1000)]
    joined = Pairs.concatenate([pairs for pairs, _ in parts])
    assert listed(joined) == sorted(listed(whole))
    assert sum(count for _, count in parts) == candidates
    assert len(whole) > 1000


def test_nothing_to_compare():
    assert len(search(np.empty(0, np.uint64), np.empty((0, 32), np.uint8), 8, 64)[0]) == 0
