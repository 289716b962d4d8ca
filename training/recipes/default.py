"""The recipe that suits a machine and a set, if none is named."""

from collections.abc import Mapping
from typing import Any

AUTO = "auto"
PHOTO_SIDE = 64  # pixels from which pretrained networks are of use
FEW_IMAGES = 5_000


def default_recipe(about: Mapping[str, Any], images: int, *, gpu: bool) -> tuple[str, str]:
    """Return the name of a recipe, and the reason in words.

    about: content of the set's manifest, whose `image_settings.size` is the side of its images in pixels. images: number of
    training images.
    """
    settings = about.get("image_settings") or {}
    side = settings.get("size") if settings.get("resize") != "none" else None
    machine = "a GPU" if gpu else "no GPU"
    if side is None or side >= PHOTO_SIDE:
        size = f"images of {side} pixels" if side else "images of several sizes"
        return ("fine_tune" if gpu else "linear_probe"), f"{size}, {machine}"
    if gpu:
        return "mini_imagenet_32", f"images of {side} pixels, {machine}"
    name = "cifar10n_cpu" if images >= FEW_IMAGES else "tiny"
    return name, f"{images:,} images of {side} pixels, {machine}"
