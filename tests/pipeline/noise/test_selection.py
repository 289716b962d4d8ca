import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.noise.selection import GiveWay, check_supply
from schemas.errors import DataError

LABELS = st.lists(st.integers(0, 4), min_size=5, max_size=150).map(lambda found: [0, 1, 2, 3, 4, *found])
LEVELS = st.floats(0, 0.99)


def ids(labels):
    return [f"i{i}" for i in range(len(labels))]


def pick(labels, level, nested=True, available=None, on_shortage="error", seed=0):
    order = GiveWay(ids(labels), np.array(labels), [level], seed, nested)
    return order.select(level, available, on_shortage)


@settings(deadline=None)
@given(LABELS, LEVELS, st.booleans())
def test_the_noise_is_exact_in_all_and_within_one_image_in_each_class(labels, level, nested):
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
    # … and the images that take their places are the same, too.
    turn = dict(zip(high.noisy.tolist(), high.turn.tolist(), strict=True))
    assert all(turn[image] == t for image, t in zip(low.noisy.tolist(), low.turn.tolist(), strict=True))


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
        order = GiveWay([i for i, _ in of], np.array([c for _, c in of]), [level], 0, True)
        chosen = order.select(level, None, "error")
        return {(of[p][0], int(t)) for p, t in zip(chosen.noisy, chosen.turn, strict=True)}

    assert noisy(images) == noisy(shuffled)


def test_shrink_leaves_clean_images_out_so_that_the_level_holds():
    labels = [0] * 100 + [1] * 100
    chosen = pick(labels, 0.5, available=np.array([10, 99]), on_shortage="shrink")
    noisy, kept = (np.bincount(np.array(labels)[part]) for part in (chosen.noisy, chosen.kept))
    assert noisy.tolist() == [10, 50]
    assert kept.tolist() == [10, 50]


def test_cap_replaces_what_it_can():
    chosen = pick([0] * 100 + [1] * 100, 0.5, available=np.array([10, 99]), on_shortage="cap")
    assert len(chosen.noisy) == 60
    assert len(chosen.kept) == 140


def test_a_shortage_names_the_class_its_need_and_the_largest_level_that_works():
    labels, available = [0, 1] * 100, np.array([25, 90])
    order = GiveWay(ids(labels), np.array(labels), [0.4], 0, True)
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
    counts = GiveWay(ids(labels), labels, [0.4, 0.1], 0, True).wanted(0.4)
    assert counts.sum() == round(0.4 * sizes.sum())
    assert abs(counts[0] - 4000) <= 1
