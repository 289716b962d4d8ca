import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.keyed_hash import keyed_hash
from pipeline.noise.candidates import assign, evidence_tiers

PAIRS = st.sets(st.tuples(st.integers(0, 40), st.integers(0, 3)), min_size=1, max_size=80)


def run(pairs, sizes=(10, 10, 10, 10), seed=0, evidence=None):
    images, labels = np.array(pairs).T
    hashes = keyed_hash([f"i{i}" for i in images], seed, "candidate")
    tiers = np.array([(evidence or {}).get(pair, 0) for pair in pairs], np.uint8)
    return [[pairs[p] for p in pool] for pool in assign(hashes, tiers, images, labels, np.array(sizes))]


TIERS = st.dictionaries(st.tuples(st.integers(0, 40), st.integers(0, 3)), st.integers(0, 3))


@settings(deadline=None)
@given(PAIRS, TIERS, st.randoms())
def test_candidates_with_more_evidence_come_first_in_the_order_of_their_hashes(pairs, tiers, random):
    shuffled = sorted(pairs)
    random.shuffle(shuffled)
    pools = run(sorted(pairs), evidence=tiers)
    assert run(shuffled, evidence=tiers) == pools
    for pool in pools:
        if pool:
            hashes = keyed_hash([f"i{i}" for i, _ in pool], 0, "candidate")
            keys = [(-tiers.get(pair, 0), h) for pair, h in zip(pool, hashes.tolist(), strict=True)]
            assert keys == sorted(keys)


@settings(deadline=None)
@given(PAIRS, TIERS)
def test_evidence_changes_which_class_an_image_gets_but_not_how_many_images_a_class_has(pairs, tiers):
    without, pools = run(sorted(pairs)), run(sorted(pairs), evidence=tiers)
    assert [len(pool) for pool in pools] == [len(pool) for pool in without]

    def total(found):
        return sum(tiers.get(pair, 0) for pool in found for pair in pool)

    assert total(pools) >= total(without)
    # No two images could exchange their classes for more evidence.
    given_class = {image: label for pool in pools for image, label in pool}
    for one, a in given_class.items():
        for other, b in given_class.items():
            if a != b and {(one, b), (other, a)} <= pairs:
                now = tiers.get((one, a), 0) + tiers.get((other, b), 0)
                assert now >= tiers.get((one, b), 0) + tiers.get((other, a), 0)


def test_the_tiers_are_steps_of_p_wrong():
    p_wrong = np.array([0.951, 0.926, 0.924, np.nan, 1.0, 0.0], np.float32)
    assert evidence_tiers(p_wrong).tolist() == [19, 19, 18, 0, 20, 0]


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
    nothing = np.zeros(4, np.uint8)
    pools = assign(
        np.zeros(4, np.uint64), nothing, np.array([7, 8, 7, 8]), np.array([0, 0, 1, 1]), np.array([10, 10])
    )
    assert sorted(len(pool) for pool in pools) == [1, 1]
