import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import DataError
from pipeline.noise.selection import NoiseOrder, check_clean_left, check_supply

LABELS = st.lists(st.integers(0, 4), min_size=5, max_size=150).map(lambda result: [0, 1, 2, 3, 4, *result])
LEVELS = st.floats(0, 0.99)


def ids(labels):
    return [f"i{i}" for i in range(len(labels))]


def pick(labels, level, nested=True, available=None, on_shortage="error", seed=0):
    order = NoiseOrder(ids(labels), np.array(labels), level, seed, nested)
    return order.select(level, available, on_shortage)


@settings(deadline=None)
@given(LABELS, LEVELS, st.booleans())
def test_the_noise_is_exact_in_total_and_within_one_image_in_each_class(labels, level, nested):
    chosen = pick(labels, level, nested)
    assert len(chosen.noisy) == round(level * len(labels))
    sizes = np.bincount(labels)
    noisy = np.bincount(np.array(labels)[chosen.noisy], minlength=5)
    assert (abs(noisy - len(chosen.noisy) * sizes / len(labels)) < 1).all()
    assert sorted([*chosen.noisy, *chosen.kept]) == list(range(len(labels)))


@settings(deadline=None)
@given(LABELS, LEVELS, LEVELS)
def test_any_two_levels_nest(labels, one, other):
    low, high = (pick(labels, level) for level in sorted((one, other)))
    assert set(low.noisy) <= set(high.noisy)
    # … and are replaced by the same images.
    rank = dict(zip(high.noisy.tolist(), high.rank.tolist(), strict=True))
    assert all(rank[image] == t for image, t in zip(low.noisy.tolist(), low.rank.tolist(), strict=True))


def test_independent_levels_do_not_nest():
    labels = [0, 1] * 100
    low, high = pick(labels, 0.2, nested=False), pick(labels, 0.4, nested=False)
    assert not set(low.noisy) <= set(high.noisy)


@settings(deadline=None)
@given(LABELS, LEVELS, st.randoms())
def test_the_order_of_images_does_not_matter(labels, level, random):
    images = list(zip(ids(labels), labels, strict=True))
    shuffled = images.copy()
    random.shuffle(shuffled)

    def noisy(of):
        order = NoiseOrder([i for i, _ in of], np.array([c for _, c in of]), level, 0, True)
        chosen = order.select(level, None, "error")
        return {(of[p][0], int(t)) for p, t in zip(chosen.noisy, chosen.rank, strict=True)}

    assert noisy(images) == noisy(shuffled)


def test_shrink_leaves_clean_images_out_so_that_the_level_holds():
    labels = [0] * 100 + [1] * 100
    chosen = pick(labels, 0.5, available=np.array([10, 99]), on_shortage="shrink")
    noisy, kept = (np.bincount(np.array(labels)[part]) for part in (chosen.noisy, chosen.kept))
    assert noisy.tolist() == [10, 50]
    assert kept.tolist() == [10, 50]


@pytest.mark.parametrize(
    ("level", "sizes", "available", "expected"),
    [
        (0.8, [10, 10], [7, 10], [9, 10]),  # 8.75 is nearer to 9 than to 8, which would be 87.5 %
        (0.8, [10, 10], [1, 10], [1, 10]),  # 1.25
        (0.45, [10, 10], [1, 10], [2, 10]),  # 2.22
        (0.8, [10] * 100, [7] * 100, [9] * 75 + [8] * 25),
        (0.5, [100, 100], [0, 50], [0, 100]),
    ],
)
def test_a_class_shrinks_to_the_nearest_size(level, sizes, available, expected):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    chosen = pick(labels.tolist(), level, available=np.array(available), on_shortage="shrink")
    noisy, kept = (np.bincount(labels[part], minlength=len(sizes)) for part in (chosen.noisy, chosen.kept))
    assert sorted(noisy + kept) == sorted(expected)
    assert abs(len(chosen.noisy) - level * (len(chosen.noisy) + len(chosen.kept))) <= 0.5


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(0, 60)), min_size=1, max_size=12),
    st.floats(0.01, 0.99),
)
def test_a_shrunk_set_has_its_level_in_total_and_nearly_in_each_class(classes, level):
    sizes, available = np.array(classes).T
    labels = np.repeat(np.arange(len(sizes)), sizes)
    order = NoiseOrder(ids(labels), labels, level, 0, True)
    chosen = order.select(level, available, "shrink")
    noisy, kept = (np.bincount(labels[part], minlength=len(sizes)) for part in (chosen.noisy, chosen.kept))
    assert (noisy == np.minimum(order.wanted(level), available)).all()
    assert abs(noisy.sum() - level * (noisy + kept).sum()) <= 0.5 + 1e-9
    assert (abs(noisy - level * (noisy + kept)) < 1.5).all()


@given(st.integers(2, 40), st.integers(1, 9), st.floats(0.3, 0.9))
@settings(deadline=None)
def test_rounding_favors_no_direction(classes, wrong, level):
    """With classes of one kind the sizes differ by one at most, and add up to the nearest total."""
    size = 10
    order = NoiseOrder(ids(range(size * classes)), np.repeat(np.arange(classes), size), level, 0, True)
    if (order.wanted(level) <= wrong).any():
        return
    chosen = order.select(level, np.full(classes, wrong), "shrink")
    sizes = np.bincount(np.concatenate([chosen.noisy, chosen.kept]) // size, minlength=classes)
    assert np.ptp(sizes) <= 1
    assert abs(sizes.sum() - classes * wrong / level) <= max(1, 0.5 / level)


def test_a_class_without_a_clean_image_is_an_error_unless_allowed():
    names, labels = ["ant", "bee", "cow"], np.array([1, 1, 1])
    with pytest.raises(DataError) as caught:
        check_clean_left("red-0.80", names, labels, ["ant"])
    assert str(caught.value).startswith("red-0.80 would have no clean image of cow: ")
    assert "noise.allow_empty_classes=[cow]" in str(caught.value)
    check_clean_left("red-0.80", names, labels, ["cow", "ant"])


def test_cap_replaces_as_many_images_as_available():
    chosen = pick([0] * 100 + [1] * 100, 0.5, available=np.array([10, 99]), on_shortage="cap")
    assert len(chosen.noisy) == 60
    assert len(chosen.kept) == 140


def test_the_error_of_a_shortage_names_the_class_its_need_and_the_largest_possible_level():
    labels, available = [0, 1] * 100, np.array([25, 90])
    order = NoiseOrder(ids(labels), np.array(labels), 0.4, 0, True)
    with pytest.raises(DataError) as caught:
        check_supply("red", ["ant", "bee"], order, available, [0.1, 0.2, 0.4])
    text = str(caught.value)
    assert "ant: has 25 wrong images, 40 are needed" in text
    assert "bee" not in text
    assert "up to 0.25" in text
    assert "up to 0.2)" in text
    assert "shrink" in text
    check_supply("red", ["ant", "bee"], order, available, [0.1, 0.25])


def test_wanted_counts_add_up_even_for_very_unequal_classes():
    sizes = np.array([10_000, *[1] * 99])
    labels = np.repeat(np.arange(100), sizes)
    counts = NoiseOrder(ids(labels), labels, 0.4, 0, True).wanted(0.4)
    assert counts.sum() == round(0.4 * sizes.sum())
    assert abs(counts[0] - 4000) <= 1
