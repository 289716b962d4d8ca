"""Resize, orient and encode a decoded image as configured (docs/explanation/images.md)."""

import io

from PIL import Image

from pipeline.config import IngestConfig
from pipeline.ingest.area_resize import resize_by_area
from pipeline.ingest.decode import DecodedImage
from pipeline.ingest.geometry import Box, crop_and_size

_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip


def normalize(decoded: DecodedImage, config: IngestConfig) -> Image.Image:
    """Resize an image by the configured rule (`IngestConfig.resize`), then apply its EXIF orientation.

    The rules treat width and height alike, so the small result can be transposed instead of the large image.
    """
    box, size = crop_and_size(decoded.width, decoded.height, config)
    left, top, right, bottom = (edge / decoded.reduction for edge in box)
    image = _resize(decoded.image, (left, top, right, bottom), size, config.resample)
    transposition = _TRANSPOSITIONS.get(decoded.orientation)
    return image if transposition is None else image.transpose(transposition)


def _resize(image: Image.Image, box: Box, size: tuple[int, int], resample: str) -> Image.Image:
    if image.size == size and box == (0, 0, *size):
        return image
    grows = box[2] - box[0] < size[0] or box[3] - box[1] < size[1]
    if resample == "area" and not grows:
        return resize_by_area(image, box, size)
    # An area filter has nothing to average where an image is enlarged, and Lanczos rings.
    return image.resize(size, Image.Resampling.BICUBIC if grows else Image.Resampling.LANCZOS, box)


def encode(image: Image.Image, config: IngestConfig) -> bytes:
    """Encode an RGB image as configured, without metadata of the original."""
    buffer = io.BytesIO()
    if config.format == "png":
        image.save(buffer, "PNG", compress_level=6)
    elif config.format == "webp":
        image.save(buffer, "WEBP", quality=config.quality)
    else:
        image.save(buffer, "JPEG", quality=config.quality)
    return buffer.getvalue()


def decode_stored(data: bytes) -> Image.Image:
    """Decode an image that the pipeline has encoded."""
    image = Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP"))
    image.load()
    return image if image.mode == "RGB" else image.convert("RGB")
