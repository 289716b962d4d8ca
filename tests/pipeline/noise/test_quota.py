import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.noise.quota import class_sequence

SIZES = st.lists(st.integers(1, 60), min_size=1, max_size=12)


@settings(deadline=None, max_examples=200)
@given(SIZES)
def test_every_prefix_is_within_one_image_of_each_class_share(sizes):
    total = sum(sizes)
    counts = np.cumsum(np.eye(len(sizes), dtype=int)[class_sequence(np.array(sizes), total)], axis=0)
    for h in range(1, total + 1):
        for count, size in zip(counts[h - 1].tolist(), sizes, strict=True):
            assert (
                h * size // total <= count <= -(-h * size // total)
            )  # floor and ceiling of the quota, exactly


@settings(deadline=None)
@given(SIZES)
def test_the_whole_sequence_has_every_image(sizes):
    assert np.bincount(class_sequence(np.array(sizes), sum(sizes)), minlength=len(sizes)).tolist() == sizes


def test_equal_classes_take_turns():
    assert class_sequence(np.array([5, 5, 5]), 7).tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_a_longer_prefix_never_has_fewer_images_of_a_class():
    # Largest remainder gives the first class 1 of 2 and 0 of 3 here (the Alabama paradox); the quota method cannot.
    sizes = np.array([1, 3, 3])
    sequence = class_sequence(sizes, 7)
    for h in range(1, 7):
        assert (np.bincount(sequence[: h + 1], minlength=3) >= np.bincount(sequence[:h], minlength=3)).all()


def test_the_published_sizes_at_40_percent():
    counts = np.bincount(class_sequence(np.full(100, 600), 24_000))
    assert (counts == 240).all()
