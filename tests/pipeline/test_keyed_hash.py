import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.keyed_hash import bucket, bucket_count, keyed_hash, shard_key


def test_the_hash_is_the_same_as_in_every_earlier_release():
    # Shards written by different releases must line up: these values never change.
    assert [hex(v) for v in keyed_hash(["a", "b"], 0, "place").tolist()] == [
        "0x2bc3d8c7515f0cb1",
        "0x1df49e3c6bb62b64",
    ]


@given(st.lists(st.text(), unique=True, min_size=2, max_size=50), st.integers(0, 9))
def test_the_hash_of_an_id_does_not_depend_on_its_index(ids, seed):
    forward, backward = keyed_hash(ids, seed, "x"), keyed_hash(ids[::-1], seed, "x")
    assert (forward == backward[::-1]).all()


def test_another_seed_or_purpose_gives_independent_hashes():
    ids = [str(i) for i in range(1000)]
    base = keyed_hash(ids, 0, "x")
    for other in (keyed_hash(ids, 1, "x"), keyed_hash(ids, 0, "y")):
        assert abs(np.corrcoef(base.astype(float), other.astype(float))[0, 1]) < 0.1


@pytest.mark.parametrize("fine", [1, 2, 8, 64])
def test_coarse_buckets_are_unions_of_neighboring_fine_ones(fine):
    shard_keys = shard_key(str(i) for i in range(500))
    for coarse in (c for c in (1, 2, 4, 8) if c <= fine):
        assert (bucket(shard_keys, fine) // (fine // coarse) == bucket(shard_keys, coarse)).all()


def test_buckets_are_ranges_of_the_shard_key():
    shard_keys = np.sort(shard_key(str(i) for i in range(500)))
    assert (np.diff(bucket(shard_keys, 16)) >= 0).all()


def test_bucket_count_is_the_smallest_sufficient_power_of_two():
    assert [bucket_count(rows, 10) for rows in (0, 10, 11, 40, 41)] == [1, 1, 2, 4, 8]
    assert bucket_count(1, 10, at_least=5) == 8
