"""The recipe that suits a machine and a set, if none is named, and the changes of a recipe for a small set."""

from collections.abc import Mapping
from typing import Any

from common.plural import counted
from training.recipes.linear_probe import EPOCHS

AUTO = "auto"
PHOTO_SIDE = 64  # pixels from which pretrained networks are of use
FEW_IMAGES = 5_000
# 6 epochs in batches of 256, those of the recipe, would be 6 steps on a set of 500 photographs
PROBE_BATCH, PROBE_STEPS = 32, 1000


def resolve_recipe(
    name: str, about: Mapping[str, Any], images: int, given: Mapping[str, Any], *, gpu: bool
) -> tuple[str, dict[str, Any], str]:
    """Return the name of a recipe, the keys of it that the set changes, and why, or "" if it is taken as it is named.

    given: keys of the training configuration that the user has set, which the set does not change. The other arguments are
    those of `default_recipe`, which is asked for the name `auto`.
    """
    chosen, reason = (
        default_recipe(about, images, gpu=gpu) if name == AUTO else (name, counted(images, "image"))
    )
    changes = small_set_overrides(chosen, images, given)
    if name != AUTO and not changes:
        return name, {}, ""
    changed = " and ".join(f"{key} {value}" for key, value in changes.items())
    return chosen, changes, f"recipe {chosen}{changed and f' with {changed}'} ({reason})"


def default_recipe(about: Mapping[str, Any], images: int, *, gpu: bool) -> tuple[str, str]:
    """Return the name of a recipe, and the reason in words.

    about: content of the set's manifest, whose `image_settings.size` is the side of its images in pixels. images: number of
    training images.
    """
    settings = about.get("image_settings") or {}
    side = settings.get("size") if settings.get("resize") != "none" else None
    machine = "a GPU" if gpu else "no GPU"
    if side is None or side >= PHOTO_SIDE:
        sizes = f"{side} pixels" if side else "several sizes"
        recipe = "fine_tune" if gpu else "linear_probe"
        return recipe, f"{counted(images, 'image')} of {sizes}, {machine}"
    if gpu:
        return "mini_imagenet_32", f"images of {side} pixels, {machine}"
    name = "cifar10n_cpu" if images >= FEW_IMAGES else "tiny"
    return name, f"{counted(images, 'image')} of {side} pixels, {machine}"


def small_set_overrides(recipe: str, images: int, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a recipe that a set of `images` training images changes, without those that are `given`.

    A step of a probe takes milliseconds. On 755 photographs (docs/results/walk.md) with 40 % red and blue noise, vanilla has 77.3
    and 71.8 % after 1,012 steps, and 74.3 and 68.1 % after 138; MentorMix 74.5 and 69.7 %, 70.5 and 67.8 % (three seeds).
    """
    batch = given.get("batch_size", PROBE_BATCH)
    # an invalid batch size is an error of the configuration
    if recipe != "linear_probe" or images >= FEW_IMAGES or not isinstance(batch, int) or batch < 1:
        return {}
    steps = max(1, images // batch)
    changes = {"batch_size": batch, "epochs": max(EPOCHS, -(-PROBE_STEPS // steps))}
    return {key: value for key, value in changes.items() if key not in given}
