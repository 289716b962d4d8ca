"""Wrong labels of all clean images from features that come in parts."""

import hashlib

import numpy as np
import pyarrow as pa
import pytest

from common.errors import DataError
from pipeline.keyed_hash import keyed_hash
from pipeline.noise.instance import flips
from pipeline.noise.instance.flips import instance_flips
from pipeline.noise.instance.part_dependent import PartDependent
from pipeline.noise.pools import Pools, collect_pools
from pipeline.noise.training_sets import training_sets
from pipeline.noise_config import NoiseConfig
from tests.pipeline.noise.pool_tables import part_of
from tests.pipeline.noise.test_training_sets import NAMES, pools

KINDS = ["part-dependent", "margin", "cluster", "votes"]
# Digests of the wrong labels of the world below: they must not depend on machine, libraries or threads.
GOLDEN = {
    "part-dependent": "6302b9698b1984a4",
    "margin": "685070ab45f16e2e",
    "cluster": "b957568a17551440",
    "votes": "f6a8ce854c0a218b",
}


class Features:
    """Features of ids as a function of the id, in two pieces."""

    def __init__(self, ids: list[str], dimension: int = 12) -> None:
        self.ids, self.dimension = ids, dimension

    def read(self, index: int):
        for some in (self.ids[::2], self.ids[1::2]):
            hashes = [keyed_hash(some, 0, f"feature-{number}") for number in range(self.dimension)]
            # Multiples of 1/256 up to ±2, shifted by class.
            values = np.stack(
                [(each >> np.uint64(54)).astype(np.float64) / 256 - 2 for each in hashes], axis=1
            )
            shift = np.array([int(i[1]) for i in some])[:, None] == np.arange(self.dimension)
            yield pa.array(some), (values + 2 * shift).astype(np.float16)


def world() -> tuple[Pools, Features]:
    retrievals, verdicts = pools(clean_each=60)
    found = collect_pools([part_of(retrievals, verdicts, NAMES)])
    return found, Features(sorted({row["image_id"] for row in retrievals}))


@pytest.mark.parametrize("kind", KINDS)
def test_known_labels(kind: str) -> None:
    found = instance_flips(kind, *world_for(0))
    assert hashlib.sha256(found.astype("<i4").tobytes()).hexdigest()[:16] == GOLDEN[kind]


def world_for(seed: int):
    made, features = world()
    return made, NAMES, seed, features


@pytest.mark.parametrize("kind", KINDS)
def test_the_labels_are_wrong_and_do_not_depend_on_the_order_of_the_features(kind: str) -> None:
    made, features = world()
    found = instance_flips(kind, made, NAMES, 0, features)
    assert (found != made.clean.labels).all()
    assert ((found >= 0) & (found < len(NAMES))).all()
    backward = Features(features.ids[::-1])
    assert (instance_flips(kind, made, NAMES, 0, backward) == found).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_labels_do_not_depend_on_how_many_features_are_sorted_at_once(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flips, "ROWS_TOGETHER", 16)
    monkeypatch.setattr(flips, "GATHERED_BYTES", 40 * 12 * 2)  # 40 of 180 images
    found = instance_flips(kind, *world_for(0))
    assert hashlib.sha256(found.astype("<i4").tobytes()).hexdigest()[:16] == GOLDEN[kind]


def test_the_directions_of_a_class_are_drawn_once_for_many_pieces_of_features(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = []
    real = PartDependent._draw_directions

    def draw(method: PartDependent, label: int, dimension: int) -> np.ndarray:
        drawn.append(label)
        return real(method, label, dimension)

    monkeypatch.setattr(PartDependent, "_draw_directions", draw)
    monkeypatch.setattr(flips, "ROWS_TOGETHER", 16)
    instance_flips("part-dependent", *world_for(0))
    assert drawn == [0, 1, 2]


def test_blue_instance_sets_relabel_the_images_of_the_other_colors_and_nest() -> None:
    made, features = world()
    config = NoiseConfig(levels=(0.1, 0.4), colors=("blue", "blue-instance"), trials=2)
    sets = {
        each.name: each
        for each in training_sets(
            made, NAMES, config, 0, lambda seed: instance_flips("part-dependent", made, NAMES, seed, features)
        )
    }
    for trial in ("", "-trial-1"):
        for level in ("0.10", "0.40"):
            own, blue = sets[f"blue-instance-{level}{trial}"], sets[f"blue-{level}{trial}"]
            assert own.replaced.tolist() == blue.replaced.tolist()
            assert (own.flipped != made.clean.labels[own.replaced]).all()
        low, high = (sets[f"blue-instance-{level}{trial}"] for level in ("0.10", "0.40"))
        label_at_high = dict(zip(high.replaced.tolist(), high.flipped.tolist(), strict=True))
        assert all(
            label_at_high[i] == label
            for i, label in zip(low.replaced.tolist(), low.flipped.tolist(), strict=True)
        )
    assert sets["blue-instance-0.40"].flipped.tolist() != sets["blue-instance-0.40-trial-1"].flipped.tolist()


def test_an_image_without_features_is_named() -> None:
    made, features = world()
    features.ids.remove("c1-7")
    with pytest.raises(DataError, match=r"1 images have no features, for example 'c1-7'; run .* embed"):
        instance_flips("part-dependent", made, NAMES, 0, features)


def test_classes_that_nobody_confused_are_named() -> None:
    retrievals, verdicts = pools()
    verdicts = [row for row in verdicts if row["verdict"] == "no" or row["class_name"] != "cow"]
    made = collect_pools([part_of(retrievals, verdicts, NAMES)])
    with pytest.raises(DataError, match=r"there is none of cow; choose another noise\.instance"):
        instance_flips("votes", made, NAMES, 0, Features(sorted({row["image_id"] for row in retrievals})))
