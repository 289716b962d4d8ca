import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dedupe.hash_buckets import bucket_sizes, cut_into_parts, near_in_part
from pipeline.dedupe.neighbors import HashPairs, near_pairs
from tests.pipeline.dedupe.samples import pair_list, planted_hashes


def search_by_part(hashes, radius, buckets, max_hashes, batches=3):
    """Cut batches into parts, gather and search each part; return the pairs and the size of the largest part."""
    arrays = np.array_split(hashes, batches)
    sizes = sum(bucket_sizes(array, radius, buckets) for array in arrays)
    gathered = {}
    for array in arrays:
        for part, members in cut_into_parts(array, radius, sizes, max_hashes):
            gathered.setdefault(part, []).append(members)
    pairs = [near_in_part(np.concatenate(members), radius, part) for part, members in gathered.items()]
    return HashPairs.join(pairs), max(sum(map(len, members)) for members in gathered.values())


@settings(deadline=None, max_examples=5)
@given(
    st.integers(0, 2**32),
    st.sampled_from([2, 8, 10]),
    st.sampled_from([64, 12]),
    st.sampled_from([16, 32, 999]),
)
def test_parts_give_the_pairs_of_one_search_each_once(seed, radius, spread, max_hashes):
    hashes = planted_hashes(np.random.default_rng(seed), 120, spread)
    assert pair_list(search_by_part(hashes, radius, 2, max_hashes)[0]) == pair_list(
        near_pairs(hashes, radius)
    )


@pytest.mark.parametrize("max_hashes", [200, 300])
def test_a_bucket_with_most_hashes_is_cut_into_blocks(max_hashes):
    hashes = np.arange(1500, dtype=np.uint64) * np.uint64(3)  # the upper bits are equal
    pairs, largest = search_by_part(hashes, 5, 4, max_hashes)
    assert pair_list(pairs) == pair_list(near_pairs(hashes, 5))
    assert largest < 1.5 * max_hashes
