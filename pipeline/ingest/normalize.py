"""Resize, orient and encode a decoded image as configured (docs/explanation/images.md)."""

import io

import numpy as np
from PIL import Image

from pipeline.ingest.area_resize import resize_by_area
from pipeline.ingest.decode import DecodedImage
from pipeline.ingest.geometry import Box, crop_and_size
from pipeline.ingest.pixels import image_of, jpeg_pixels
from pipeline.ingest_config import IngestConfig

_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip


def normalize(decoded: DecodedImage, config: IngestConfig) -> Image.Image:
    """Resize an image by the configured rule (`IngestConfig.resize`), then apply its EXIF orientation.

    The rules treat width and height alike, so the small result can be transposed instead of the large image. Its mode is
    RGBX, which is RGB with a fourth byte per pixel that is not used, or RGB.
    """
    box, size = crop_and_size(decoded.width, decoded.height, config)
    left, top, right, bottom = (edge / decoded.reduction for edge in box)
    image = _resize(decoded.pixels, (left, top, right, bottom), size, config.resample)
    transposition = _TRANSPOSITIONS.get(decoded.orientation)
    return image if transposition is None else image.transpose(transposition)


def _resize(pixels: np.ndarray, box: Box, size: tuple[int, int], resample: str) -> Image.Image:
    if pixels.shape[1::-1] == size and box == (0, 0, *size):
        return image_of(pixels)
    grows = box[2] - box[0] < size[0] or box[3] - box[1] < size[1]
    if resample == "area" and not grows:
        return image_of(resize_by_area(pixels, box, size))
    # An area filter has nothing to average where an image is enlarged, and Lanczos rings.
    method = Image.Resampling.BICUBIC if grows else Image.Resampling.LANCZOS
    return (
        image_of(pixels).convert("RGB").resize(size, method, box)
    )  # three channels take less time than four


def encode(image: Image.Image, config: IngestConfig) -> bytes:
    """Encode an image of mode RGB or RGBX as configured, without metadata of the original."""
    buffer = io.BytesIO()
    if config.format == "jpeg":
        image.save(buffer, "JPEG", quality=config.quality)
        return buffer.getvalue()
    image = image if image.mode == "RGB" else image.convert("RGB")
    if config.format == "png":
        image.save(buffer, "PNG", compress_level=6)
    else:
        image.save(buffer, "WEBP", quality=config.quality)
    return buffer.getvalue()


def decode_stored(data: bytes) -> Image.Image:
    """Decode an image that the pipeline has encoded; the mode is RGB or RGBX, which is RGB with an unused byte per pixel.

    Raises Image.DecompressionBombError for an image with more pixels than twice Image.MAX_IMAGE_PIXELS.
    """
    pixels = jpeg_pixels(data) if data.startswith(b"\xff\xd8") else None
    if pixels is not None:
        return image_of(pixels)
    image = Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP"))
    image.load()
    return image if image.mode == "RGB" else image.convert("RGB")
