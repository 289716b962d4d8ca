"""One encoded picture to pixels: JPEG by libjpeg-turbo, what else there may be by Pillow."""

import io

import numpy as np
from PIL import Image
from simplejpeg import decode_jpeg

JPEG = b"\xff\xd8\xff"
FORMATS = ("JPEG", "PNG", "WEBP")


def decode(encoded: np.ndarray) -> np.ndarray:
    """Decode bytes uint8 [L] to RGB pixels uint8 [H, W, 3]; a JPEG to the very pixels that Pillow gives.

    Raises OSError or ValueError for what is no picture.
    """
    if encoded[:3].tobytes() == JPEG:
        try:
            pixels: np.ndarray = decode_jpeg(encoded, "RGB", fastdct=False, fastupsample=False)
            return pixels
        except ValueError:
            pass  # Pillow reads some kinds more, and explains itself better
    try:
        with Image.open(io.BytesIO(encoded.tobytes()), formats=FORMATS) as image:
            return np.array(image.convert("RGB"))
    except Image.DecompressionBombError as error:
        raise ValueError(str(error)) from error
