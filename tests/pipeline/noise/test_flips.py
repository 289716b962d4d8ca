import numpy as np
from scipy import stats

from pipeline.noise.flips import asymmetric, confused_targets, mapped_targets, symmetric


def test_symmetric_flips_never_keep_the_label_and_are_uniform_over_the_other_labels():
    n, classes = 20_000, 10
    labels = np.arange(n) % classes
    wrong = symmetric([f"i{i}" for i in range(n)], labels, classes, seed=0)
    assert (wrong != labels).all()
    steps = np.bincount((wrong - labels) % classes, minlength=classes)[1:]
    assert (
        stats.chisquare(steps).pvalue > 0.001
    )  # m − 1 classes: the common mistake of drawing over all m fails
    for label in range(classes):
        assert (
            stats.chisquare(np.delete(np.bincount(wrong[labels == label], minlength=classes), label)).pvalue
            > 1e-4
        )


def test_an_image_is_flipped_to_the_same_label_whatever_else_is_in_the_set():
    assert symmetric(["b"], np.array([1]), 5, 3) == symmetric(["a", "b"], np.array([0, 1]), 5, 3)[1]


def test_two_classes_have_only_one_wrong_label():
    assert symmetric(["a", "b"], np.array([0, 1]), 2, 0).tolist() == [1, 0]


def test_asymmetric_follows_the_map_or_takes_the_next_class():
    names = ["truck", "car", "bird"]
    labels = np.array([0, 1, 2])
    assert asymmetric(labels, mapped_targets(names, {"truck": "bird"})).tolist() == [2, 2, 0]
    assert asymmetric(labels, mapped_targets(names, {})).tolist() == [1, 2, 0]


def test_targets_estimated_from_votes_are_the_most_frequent_confusion():
    found_for, shows = np.array([0, 0, 0, 1]), np.array([2, 2, 1, 1])
    assert confused_targets(found_for, shows, 3).tolist() == [
        2,
        2,
        0,
    ]  # 1 and 2 have no confusion: the next class
