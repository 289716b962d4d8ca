from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dedupe.bit_masks import BITS, DESIGNS, bit_masks
from pipeline.dedupe.neighbors import HashPairs, near_pairs, near_pairs_on_mask
from tests.pipeline.dedupe.samples import flip_bits, pair_list, planted_hashes


def brute_force(hashes, radius):
    pairs = combinations(sorted(hashes.tolist()), 2)
    return [(u, v) for u, v in pairs if (u ^ v).bit_count() <= radius]


@pytest.mark.parametrize("bits", DESIGNS)
def test_each_choice_of_points_is_in_a_block_of_the_design(bits):
    points, blocks = DESIGNS[bits]
    shifted = [{(point + shift) % points for point in block} for block in blocks for shift in range(points)]
    for chosen in combinations(range(points), bits):
        assert any(block >= set(chosen) for block in shifted)


@settings(deadline=None)
@given(st.integers(0, 11), st.integers(0, 2**32))
def test_hashes_within_the_radius_agree_on_some_mask(radius, seed):
    rng = np.random.default_rng(seed)
    masks = bit_masks(radius)
    for _ in range(200):
        difference = flip_bits(rng, np.uint64(0), radius)
        assert (difference & masks == 0).any()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.integers(0, 11), st.sampled_from([64, 20, 8]))
def test_near_pairs_equal_a_comparison_of_all_pairs(seed, radius, spread):
    hashes = planted_hashes(np.random.default_rng(seed), 90, spread)
    assert pair_list(near_pairs(hashes, radius)) == brute_force(hashes, radius)


@pytest.mark.parametrize("radius", [8, 10])
def test_neighbors_at_every_distance_are_found_among_many_hashes(radius):
    rng = np.random.default_rng(radius)
    hashes = rng.integers(0, 2**64, 20_000, np.uint64)
    pairs = {}
    for i in range(0, 3000, 2):
        hashes[i + 1] = flip_bits(rng, hashes[i], 1 + i // 2 % 13)
        pairs[tuple(sorted(hashes[i : i + 2].tolist()))] = 1 + i // 2 % 13
    result = set(pair_list(near_pairs(np.unique(hashes), radius)))
    assert result >= {pair for pair, bits in pairs.items() if bits <= radius}
    assert not result & {pair for pair, bits in pairs.items() if bits > radius}


def test_thousands_in_one_bucket_are_all_compared():
    # They agree on 52 bits, and so on every mask of two bands: each pair must be returned for the first mask only.
    hashes = np.arange(4096, dtype=np.uint64)
    result = near_pairs(hashes, 2)
    u, v = np.nonzero(np.triu(np.bitwise_count(hashes[:, None] ^ hashes) <= 2, 1))
    assert pair_list(result) == list(zip(u.tolist(), v.tolist(), strict=True))


def test_the_order_of_hashes_and_the_number_of_threads_do_not_matter():
    rng = np.random.default_rng(0)
    hashes = planted_hashes(rng, 3000)
    result = near_pairs(hashes, 8, threads=1)
    again = near_pairs(rng.permutation(hashes), 8, threads=3)
    assert pair_list(again) == pair_list(result)
    assert again.comparisons == result.comparisons > 0


def test_results_of_single_masks_are_disjoint_and_complete():
    hashes = planted_hashes(np.random.default_rng(1), 2000)
    masks = bit_masks(8)
    parts = [near_pairs_on_mask(hashes, 8, masks, index) for index in range(len(masks))]
    assert pair_list(HashPairs.join(parts)) == pair_list(near_pairs(hashes, 8))
    assert sum(len(part.u) for part in parts) == len(set(pair_list(HashPairs.join(parts))))


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_to_compare(count):
    result = near_pairs(np.arange(count, dtype=np.uint64), 8)
    assert (len(result.u), result.comparisons) == (0, 0)


def test_radius_8_needs_63_masks_of_at_least_16_bits():
    masks = bit_masks(8)
    assert len(masks) == 63
    assert np.bitwise_count(masks).min() >= 16
    assert BITS == 64
