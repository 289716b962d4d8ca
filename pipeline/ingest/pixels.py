"""Pixels in memory that NumPy and Pillow share, and JPEGs that are decoded to them.

An array of pixels is uint8 (height, width, 4): red, green, blue, and a byte that is not used, as libjpeg-turbo, Pillow's
mode RGBX and 32-bit moves have it.
"""

import numpy as np
from PIL import Image
from simplejpeg import decode_jpeg, decode_jpeg_header

CHANNELS = 4
MAX_JPEG_PIXELS = 100_000_000
"""Larger JPEGs are left to Pillow, which refuses the very large ones; libjpeg decodes any size that a header declares."""


def jpeg_pixels(data: bytes, size: tuple[int, int] | None = None) -> np.ndarray | None:
    """Decode a JPEG of one or three components to pixels that equal Pillow's.

    Return None if the image has more than MAX_JPEG_PIXELS, or if libjpeg reports damage or an unknown variant. size: width
    and height of the result, which are those of the image divided by 1, 2, 4 or 8 and rounded up; default: those of the
    image. Pillow copies the pixels twice: its decoding takes 1.1 to 1.4 times the CPU time at 500×375, and 3 times at 32×32.
    """
    width, height = size or (0, 0)
    try:
        full_height, full_width, *_ = decode_jpeg_header(data)
        if full_height * full_width > MAX_JPEG_PIXELS:
            return None
        pixels: np.ndarray = decode_jpeg(
            data, "RGBX", fastdct=False, fastupsample=False, min_height=height, min_width=width, strict=True
        )
    except ValueError:
        return None
    return pixels if size is None or pixels.shape == (height, width, CHANNELS) else None


def image_of(pixels: np.ndarray) -> Image.Image:
    """Return an image of mode RGBX that shares the memory of `pixels`, a contiguous array. Pillow never writes to it."""
    height, width, _ = pixels.shape
    return Image.frombuffer("RGBX", (width, height), pixels, "raw", "RGBX", 0, 1)


def pixels_of(image: Image.Image) -> np.ndarray:
    """Return a copy of the pixels of an image of mode RGB or RGBX."""
    return np.frombuffer(image.tobytes("raw", "RGBX"), np.uint8).reshape(image.height, image.width, CHANNELS)
