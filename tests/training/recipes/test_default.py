"""The recipe that is chosen by the machine and the images."""

import pytest

from training.recipes.default import default_recipe, resolve_recipe, small_set_overrides
from training.recipes.registry import configure


@pytest.mark.parametrize(
    ("settings", "images", "gpu", "name"),
    [
        ({"size": 32, "resize": "exact"}, 10_000, False, "cifar10n_cpu"),
        ({"size": 32, "resize": "exact"}, 900, False, "tiny"),
        ({"size": 32, "resize": "exact"}, 900, True, "mini_imagenet_32"),
        ({"size": 224, "resize": "crop"}, 900, False, "linear_probe"),
        ({"size": 224, "resize": "crop"}, 900, True, "fine_tune"),
        ({"size": 224, "resize": "none"}, 900, True, "fine_tune"),
        ({}, 900, False, "linear_probe"),
    ],
)
def test_the_recipe_suits_machine_and_images(settings, images, gpu, name):
    chosen, reason = default_recipe({"image_settings": settings}, images, gpu=gpu)
    assert chosen == name
    assert ("no GPU" in reason) is not gpu
    configure(chosen, 0.4, {})


@pytest.mark.parametrize(
    ("recipe", "images", "batch"),
    [("linear_probe", 552, 32), ("linear_probe", 4_999, 32), ("linear_probe", 28_000, 256)],
)
def test_a_probe_of_few_photographs_has_enough_steps(recipe, images, batch):
    config = configure(recipe, 0.2, small_set_overrides(recipe, images, {}))
    assert config.batch_size == batch
    assert config.epochs >= 6
    assert config.epochs * (images // batch) >= (600 if images > 5_000 else 1_000)
    assert small_set_overrides("fine_tune", images, {}) == {}


def test_a_named_recipe_also_fits_a_small_set() -> None:
    changes = {"batch_size": 32, "epochs": 34}
    why = "recipe linear_probe with batch_size 32 and epochs 34 (960 images)"
    assert resolve_recipe("linear_probe", {}, 960, {}, gpu=True) == ("linear_probe", changes, why)
    assert resolve_recipe("linear_probe", {}, 5_000, {}, gpu=True) == ("linear_probe", {}, "")
    assert resolve_recipe("tiny", {}, 960, {}, gpu=True) == ("tiny", {}, "")
    assert resolve_recipe("auto", {}, 960, {}, gpu=False)[1] == changes


@pytest.mark.parametrize("given", [{"batch_size": 8}, {"epochs": 5}, {"batch_size": 100, "epochs": 5}])
def test_a_small_set_changes_no_key_that_is_given(given: dict[str, int]) -> None:
    name, changes, why = resolve_recipe("linear_probe", {}, 960, given, gpu=False)
    assert not set(changes) & set(given)
    assert not any(key in why for key in given)
    config = configure(name, 0.2, changes | given)
    assert "epochs" in given or 1_000 <= config.epochs * (960 // config.batch_size) < 1_100
