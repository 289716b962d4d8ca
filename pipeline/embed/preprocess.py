"""Scale and crop an image to the input of a network, with the same pixels as timm's evaluation transform."""

import io
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from common.errors import DataError

FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the input of a network.

    size: side of the input in pixels. scaled: length to which the image is scaled before the central square of `size` is
    cut out. scale: "shorter" scales the shorter side and keeps the aspect ratio; "both" scales both sides.
    interpolation: a key of FILTERS. mean, std: of red, green and blue in [0, 1]; a pixel x becomes (x/255 − mean)/std.
    """

    size: int
    scaled: int
    scale: Literal["shorter", "both"]
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


def read_pixels(encoded: bytes, name: str, rule: Preprocessing) -> np.ndarray:
    """Decode an image and return its input pixels, uint8 [size, size, 3]. Raises DataError that quotes `name`."""
    try:
        with Image.open(io.BytesIO(encoded)) as opened:
            image = opened.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(
            f"image {name!r} cannot be decoded ({error}); run the ingest stage again with --force"
        ) from error
    return np.asarray(_crop(_scale(image, rule), rule.size))


def _scale(image: Image.Image, rule: Preprocessing) -> Image.Image:
    """Scale as torchvision's Resize does: the longer side is rounded down."""
    width, height = image.size
    if rule.scale == "both":
        size = (rule.scaled, rule.scaled)
    elif width <= height:
        size = (rule.scaled, int(rule.scaled * height / width))
    else:
        size = (int(rule.scaled * width / height), rule.scaled)
    return image if size == image.size else image.resize(size, FILTERS[rule.interpolation])


def _crop(image: Image.Image, size: int) -> Image.Image:
    """Cut out the central square as torchvision's CenterCrop does."""
    left, top = (round((side - size) / 2) for side in image.size)
    return image.crop((left, top, left + size, top + size))


def scaled_length(size: int, crop_share: float) -> int:
    """Return the length that timm scales an image to before it crops to `size`."""
    return math.floor(size / crop_share)
