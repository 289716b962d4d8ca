"""Decode images: JPEG with libjpeg-turbo, PNG and WebP with Pillow."""

import io

import numpy as np
from PIL import Image
from simplejpeg import decode_jpeg, decode_jpeg_header

JPEG = b"\xff\xd8\xff"
FORMATS = ("JPEG", "PNG", "WEBP")
MAX_JPEG_PIXELS = 100_000_000
"""Larger JPEGs are left to Pillow, which refuses the very large ones; libjpeg decodes any size that a header declares."""


class OtherSizeError(ValueError):
    """An image that does not have the expected size."""


def decode(encoded: np.ndarray, size: tuple[int, int] | None = None) -> np.ndarray:
    """Decode an encoded image uint8 [L] to RGB pixels uint8 [H, W, 3], equal to those that Pillow decodes.

    Raises OtherSizeError unless `size` is None or the height and width that the header declares, before memory is taken for the
    pixels; other ValueErrors or OSError if the bytes are not a supported image, or if it has too many pixels.
    """
    if encoded[:3].tobytes() == JPEG:
        try:
            height, width, *_ = decode_jpeg_header(encoded)
            _check_size((height, width), size)
            if height * width <= MAX_JPEG_PIXELS:
                pixels: np.ndarray = decode_jpeg(encoded, "RGB", fastdct=False, fastupsample=False)
                return pixels
        except OtherSizeError:
            raise
        except ValueError:
            pass  # Pillow reads more variants of JPEG and has clearer messages
    try:
        with Image.open(io.BytesIO(encoded.tobytes()), formats=FORMATS) as image:
            _check_size((image.height, image.width), size)
            return np.array(image.convert("RGB"))
    except Image.DecompressionBombError as error:
        raise ValueError(str(error)) from error


def _check_size(found: tuple[int, int], size: tuple[int, int] | None) -> None:
    if size is not None and found != size:
        raise OtherSizeError(f"is {found[1]}×{found[0]} pixels, others are {size[1]}×{size[0]}")
