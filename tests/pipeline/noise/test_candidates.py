import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.keyed_hash import keyed_hash
from pipeline.noise.candidates import assign

PAIRS = st.sets(st.tuples(st.integers(0, 40), st.integers(0, 3)), min_size=1, max_size=80)


def run(pairs, sizes=(10, 10, 10, 10), seed=0):
    images, labels = np.array(pairs).T
    hashes = keyed_hash([f"i{i}" for i in images], seed, "candidate")
    return [[pairs[p] for p in pool] for pool in assign(hashes, images, labels, np.array(sizes))]


@settings(deadline=None)
@given(PAIRS)
def test_each_wrong_image_is_a_candidate_of_exactly_one_of_its_classes(pairs):
    pools = run(sorted(pairs))
    used = [image for pool in pools for image, _ in pool]
    assert sorted(used) == sorted({image for image, _ in pairs})
    assert all(label == number for number, pool in enumerate(pools) for _, label in pool)


@settings(deadline=None)
@given(PAIRS, st.randoms())
def test_the_order_of_rows_does_not_matter(pairs, random):
    shuffled = sorted(pairs)
    random.shuffle(shuffled)
    assert run(shuffled) == run(sorted(pairs))


def test_a_scarce_class_gets_candidates_first():
    # Class 0 has 10 images of its own; class 1 has none but the 10 that it shares with class 0.
    pairs = [(i, 0) for i in range(20)] + [(i, 1) for i in range(10, 20)]
    pools = run(pairs, (10, 10))
    assert [len(pool) for pool in pools] == [10, 10]


def test_supply_follows_the_sizes_of_the_classes():
    pairs = [(i, label) for i in range(30) for label in (0, 1)]
    pools = run(pairs, (20, 10))
    assert [len(pool) for pool in pools] == [20, 10]


def test_another_seed_uses_candidates_in_another_order():
    pairs = [(i, 0) for i in range(30)]
    assert run(pairs, (10,), seed=0) != run(pairs, (10,), seed=1)


def test_two_images_with_the_same_hash_are_two_candidates():
    pools = assign(np.zeros(4, np.uint64), np.array([7, 8, 7, 8]), np.array([0, 0, 1, 1]), np.array([10, 10]))
    assert sorted(len(pool) for pool in pools) == [1, 1]
