"""One picture: from the bytes of a file to what is stored of it."""

from dataclasses import dataclass
from typing import Any

from PIL import Image

from pipeline.config import IngestConfig
from pipeline.ingest.decode import decode
from pipeline.ingest.normalise import encode, normalise, open_stored


@dataclass(frozen=True)
class Picture:
    """What is stored of a file, and what was seen of the file."""

    encoded: bytes
    pixels: Image.Image
    """As they will be read again."""
    seen: dict[str, Any]
    """Columns of the image table."""


def make_picture(data: bytes, config: IngestConfig) -> Picture:
    """Decode, normalise, encode. Raises Rejected."""
    decoded = decode(data, config)
    picture = normalise(decoded, config)
    encoded = encode(picture, config)
    seen = {
        "width": decoded.width,
        "height": decoded.height,
        "format": decoded.format,
        "animated": decoded.animated,
    }
    # PNG gives back the pixels that went in; other encodings do not.
    return Picture(encoded, picture if config.format == "png" else open_stored(encoded), seen)
