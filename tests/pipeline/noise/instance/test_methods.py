"""The wrong labels of each kind of instance-dependent noise."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from pipeline.noise.instance import exact
from pipeline.noise.instance.clusters import Clusters, k_means
from pipeline.noise.instance.margin import Margin
from pipeline.noise.instance.part_dependent import PartDependent
from pipeline.noise.instance.vote_confusions import VoteConfusions


def blobs(each=200, classes=4, dimension=6, spread=1.0, seed=0):
    """Standardized features of classes around random centers, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.tile(np.arange(classes), each)
    features = rng.normal(0, 2, (classes, dimension))[labels] + rng.normal(
        0, spread, (len(labels), dimension)
    )
    features = features.astype(np.float16)
    return exact.Standardizer(features)(features), labels


def hashes(count, seed=0):
    return np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64)


def test_part_dependent_labels_follow_the_equation_of_the_paper() -> None:
    """Algorithm 2 of Xia et al. (2020): P(k | x, y) = softmax(x · W_y) over k ≠ y, with standard normal W."""
    rows, labels = blobs(each=1, classes=5)
    method = PartDependent(5, seed=3)
    count = 20_000
    for row, label in zip(rows, labels.tolist(), strict=True):
        directions = method._directions(label, rows.shape[1]) / 8
        scores = (row / exact.UNIT) @ directions
        scores[label] = -np.inf
        expected = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
        repeated = np.repeat(row[None], count, axis=0)
        drawn = method.flip(repeated, np.full(count, label), hashes(count, seed=label))
        assert np.abs(np.bincount(drawn, minlength=5) / count - expected).max() < 0.02


def test_the_directions_are_standard_normal_and_differ_between_classes_and_seeds() -> None:
    first, other = (PartDependent(50, seed)._directions(0, 400) / 8 for seed in (0, 1))
    second = PartDependent(50, 0)._directions(1, 400) / 8
    assert abs(first.mean()) < 0.03
    assert abs(first.std() - 1) < 0.02
    assert abs((first**4).mean() / (first**2).mean() ** 2 - 3) < 0.1  # kurtosis of a normal distribution
    for one in (other, second):
        assert abs(np.corrcoef(first.ravel(), one.ravel())[0, 1]) < 0.03


def test_margin_labels_are_the_most_probable_other_class() -> None:
    rows, labels = blobs(spread=2.0)
    method = Margin(rows, labels, 4)
    found = method.flip(rows, labels, hashes(len(rows)))
    # Early stopping is like a strong penalty on the weights.
    peer = LogisticRegression(C=0.001, max_iter=2000).fit(rows / exact.UNIT, labels)
    shares = peer.predict_proba(rows / exact.UNIT)
    assert (exact.products(rows, method.weights).argmax(axis=1) == shares.argmax(axis=1)).mean() > 0.95
    shares[np.arange(len(labels)), labels] = -1
    assert (found == shares.argmax(axis=1)).mean() > 0.9


def test_the_images_of_a_cluster_get_the_class_with_the_nearest_mean() -> None:
    # The class 0 has a group near each of the classes 1 and 2.
    centers = np.array([[0, 0], [400, 0], [0, 400]])
    rng = np.random.default_rng(0)
    groups = np.array([[300, 0], [0, 300]])[np.arange(100) % 2] + rng.integers(-20, 21, (100, 2))
    others = np.repeat(centers[1:], 50, axis=0) + rng.integers(-20, 21, (100, 2))
    rows = np.concatenate([groups, others]).astype(np.int16)
    labels = np.repeat([0, 1, 2], [100, 50, 50])
    found = Clusters(rows, labels, 3).flip(rows, labels, hashes(200))
    assert found[:100].tolist() == [1, 2] * 50
    assert (found != labels).all()


def test_k_means_finds_separated_groups() -> None:
    rng = np.random.default_rng(0)
    centers = rng.integers(-400, 400, (8, 5))
    rows = np.concatenate([centers] + [centers + rng.integers(-3, 4, (8, 5)) for _ in range(30)]).astype(
        np.int16
    )
    assert np.abs(np.sort(k_means(rows), axis=0) - np.sort(centers, axis=0)).max() <= 2
    assert len(k_means(rows[:3])) == 3


def test_vote_labels_are_those_of_the_most_similar_confused_image_of_the_class() -> None:
    confused = np.array([[500, 0], [0, 100], [500, 0]], np.int16)
    method = VoteConfusions(confused, shown=np.array([0, 0, 1]), taken_for=np.array([1, 2, 2]))
    rows = np.array([[10, 3], [3, 10], [3, 10]], np.int16)
    assert method.flip(rows, np.array([0, 0, 1]), hashes(3)).tolist() == [1, 2, 2]


@pytest.mark.parametrize("kind", ["part-dependent", "margin", "cluster"])
def test_no_label_is_the_right_one(kind: str) -> None:
    rows, labels = blobs(spread=3.0)
    method = {
        "part-dependent": lambda: PartDependent(4, 0),
        "margin": lambda: Margin(rows, labels, 4),
        "cluster": lambda: Clusters(rows, labels, 4),
    }[kind]()
    found = method.flip(rows, labels, hashes(len(rows)))
    assert ((found >= 0) & (found < 4) & (found != labels)).all()
