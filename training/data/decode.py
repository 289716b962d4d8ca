"""Decode images: JPEG with libjpeg-turbo, PNG and WebP with Pillow."""

import io

import numpy as np
from PIL import Image
from simplejpeg import decode_jpeg

JPEG = b"\xff\xd8\xff"
FORMATS = ("JPEG", "PNG", "WEBP")


def decode(encoded: np.ndarray) -> np.ndarray:
    """Decode an encoded image uint8 [L] to RGB pixels uint8 [H, W, 3], equal to those that Pillow decodes.

    Raises OSError or ValueError if the bytes are not a supported image.
    """
    if encoded[:3].tobytes() == JPEG:
        try:
            pixels: np.ndarray = decode_jpeg(encoded, "RGB", fastdct=False, fastupsample=False)
            return pixels
        except ValueError:
            pass  # Pillow reads more variants of JPEG and has clearer messages
    try:
        with Image.open(io.BytesIO(encoded.tobytes()), formats=FORMATS) as image:
            return np.array(image.convert("RGB"))
    except Image.DecompressionBombError as error:
        raise ValueError(str(error)) from error
