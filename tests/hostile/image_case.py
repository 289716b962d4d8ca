"""A hostile or odd file in place of an image, with the expected result, and how such files are made from good ones."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

IMAGE = "an image"


@dataclass(frozen=True)
class Case:
    """A file, and the code of its rejection, or IMAGE with its size and whether it is animated."""

    make: Callable[[], bytes]
    expected: str
    size: tuple[int, int] = (32, 24)
    animated: bool = False


@cache
def plain() -> Image.Image:
    blobs = np.random.default_rng(0).integers(0, 256, (4, 4, 3)).astype(np.uint8)
    return Image.fromarray(blobs).resize((32, 24), Image.Resampling.BICUBIC)


def saved(kind: str, image: Image.Image | None = None, **options: object) -> bytes:
    file = io.BytesIO()
    (image or plain()).save(file, kind, **options)
    return file.getvalue()


def changed(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]
