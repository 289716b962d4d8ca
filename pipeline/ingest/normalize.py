"""From decoded pixels to the size and the encoding that the configuration asks for (the rules: docs/explanation/images.md)."""

import io

from PIL import Image

from pipeline.config import IngestConfig
from pipeline.ingest.area_resize import resize_by_area
from pipeline.ingest.decode import Decoded
from pipeline.ingest.geometry import Box, plan

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip


def normalize(decoded: Decoded, config: IngestConfig) -> Image.Image:
    """Bring a picture to the configured size by the configured rule (see IngestConfig.resize), and upright.

    The rules do not tell width from height, so that the small result can be turned in place of the large picture.
    """
    (left, top, right, bottom), size = plan(decoded.width, decoded.height, config)
    part = decoded.reduction
    picture = _resize(
        decoded.picture, (left / part, top / part, right / part, bottom / part), size, config.resample
    )
    turn = _TURNS.get(decoded.orientation)
    return picture if turn is None else picture.transpose(turn)


def _resize(picture: Image.Image, box: Box, size: tuple[int, int], resample: str) -> Image.Image:
    if picture.size == size and box == (0, 0, *size):
        return picture
    grows = box[2] - box[0] < size[0] or box[3] - box[1] < size[1]
    if resample == "area" and not grows:
        return resize_by_area(picture, box, size)
    # An area filter has nothing to average where a picture grows, and Lanczos rings.
    return picture.resize(size, Image.Resampling.BICUBIC if grows else Image.Resampling.LANCZOS, box)


def encode(picture: Image.Image, config: IngestConfig) -> bytes:
    """Encode an RGB picture as configured; no metadata of the original survives."""
    buffer = io.BytesIO()
    if config.format == "png":
        picture.save(buffer, "PNG", compress_level=6)
    elif config.format == "webp":
        picture.save(buffer, "WEBP", quality=config.quality)
    else:
        picture.save(buffer, "JPEG", quality=config.quality)
    return buffer.getvalue()


def open_stored(data: bytes) -> Image.Image:
    """Decode a picture that the pipeline itself has encoded."""
    image = Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP"))
    image.load()
    return image if image.mode == "RGB" else image.convert("RGB")
