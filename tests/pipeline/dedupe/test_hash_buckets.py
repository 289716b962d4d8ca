import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dedupe.hash_buckets import bucket_sizes, cut, near_in_part
from pipeline.dedupe.neighbors import HashPairs, near_pairs
from tests.pipeline.dedupe.test_neighbors import listed, planted


def in_shares(hashes, radius, buckets, most, batches=3):
    """Cut in batches, gathered by share, searched share by share; also the hashes of the largest share."""
    parts = np.array_split(hashes, batches)
    sizes = sum(bucket_sizes(part, radius, buckets) for part in parts)
    shares = {}
    for part in parts:
        for share, some in cut(part, radius, sizes, most):
            shares.setdefault(share, []).append(some)
    found = [near_in_part(np.concatenate(some), radius, share) for share, some in shares.items()]
    return HashPairs.join(found), max(sum(map(len, some)) for some in shares.values())


@settings(deadline=None, max_examples=5)
@given(
    st.integers(0, 2**32),
    st.sampled_from([2, 8, 10]),
    st.sampled_from([64, 12]),
    st.sampled_from([8, 32, 999]),
)
def test_shares_give_what_one_search_gives_and_each_pair_once(seed, radius, spread, most):
    hashes = planted(np.random.default_rng(seed), 120, spread)
    assert listed(in_shares(hashes, radius, 2, most)[0]) == listed(near_pairs(hashes, radius))


@pytest.mark.parametrize("most", [200, 300])
def test_a_bucket_that_most_hashes_fall_into_is_cut_into_blocks(most):
    hashes = np.arange(1500, dtype=np.uint64) * np.uint64(3)  # the upper bits are all the same
    found, largest = in_shares(hashes, 5, 4, most)
    assert listed(found) == listed(near_pairs(hashes, 5))
    assert largest < 1.5 * most
