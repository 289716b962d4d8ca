"""Process one image: read, decode, normalize, encode, and make its thumbnail."""

import hashlib
import os
from dataclasses import dataclass
from typing import Any

from PIL import Image

from pipeline.ingest.decode import DecodedImage, LimitMemory, beyond_memory, decode, no_limit
from pipeline.ingest.normalize import decode_stored, encode, normalize
from pipeline.ingest.source_folder import SourceFolder
from pipeline.ingest.thumbnail import Thumbnail, thumbnail
from pipeline.ingest_config import IngestConfig
from pipeline.rejections import Rejected


@dataclass(frozen=True)
class ImageRequest:
    """The location of the bytes of an image on this machine.

    Without `offset`: the file `path` of the source folder. With it: `length` bytes at `offset` of the file `path`.
    """

    path: str
    offset: int | None = None
    length: int = 0
    fetched_sha256: str | None = None
    """Digest of a stored body, recorded when it was fetched."""
    listed_sha256: str | None = None
    """Digest that the retrieval list gives."""


@dataclass(frozen=True)
class ProcessedImage:
    """A normalized image and facts about its original file."""

    encoded: bytes
    thumbnail: Thumbnail
    """Thumbnail of the stored image, so that fingerprints can be recomputed from the shards."""
    columns: dict[str, Any]
    """Columns of the image table that describe the original."""


@dataclass(frozen=True)
class ImageRejection:
    """The code and the detail of a rejection, as a decoding process reports it."""

    code: str
    detail: str


@dataclass(frozen=True)
class DamagedBody:
    """A stored body that differs from what was fetched."""


ImageResult = ProcessedImage | ImageRejection | DamagedBody


def process_image(data: bytes, config: IngestConfig, limit_memory: LimitMemory = no_limit) -> ProcessedImage:
    """Decode, normalize and encode an image. Raises Rejected."""
    decoded = decode(data, config, limit_memory)
    try:
        return _normalize_and_encode(decoded, config)
    except MemoryError as error:
        detail = beyond_memory(decoded.format, decoded.width, decoded.height)
        raise Rejected("too_many_pixels", detail) from error


def _normalize_and_encode(decoded: DecodedImage, config: IngestConfig) -> ProcessedImage:
    image = normalize(decoded, config)
    try:
        encoded = encode(image, config)
        # PNG is lossless; other encodings change the pixels.
        stored = image if config.format == "png" else decode_stored(encoded)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        # Without resizing, an image may have a longer side than the format allows; enlarged, it may be too large to decode.
        size = f"{image.width}×{image.height}"
        raise Rejected("too_many_pixels", f"{size} cannot be stored as {config.format}: {error}") from error
    columns = {
        "width": decoded.width,
        "height": decoded.height,
        "format": decoded.format,
        "animated": decoded.animated,
    }
    return ProcessedImage(encoded, thumbnail(stored), columns)


def read_and_process(
    request: ImageRequest, source: SourceFolder, config: IngestConfig, limit_memory: LimitMemory = no_limit
) -> ImageResult:
    """Read the bytes of an image, check their digest and size, and process them.

    Raises OSError, with an error number, if the machine cannot read them, whichever image it is.
    """
    try:
        data = _read(request, source)
        digest = hashlib.sha256(data).hexdigest()
        if request.fetched_sha256 not in (None, digest):
            return DamagedBody()
        if request.listed_sha256 not in (None, digest):
            raise Rejected(
                "sha256_mismatch",
                f"the file has {digest}; correct the digest in the list, or restore the file",
            )
        if len(data) > config.max_bytes:  # fetched under a higher limit
            raise Rejected("too_large", f"more than {config.max_bytes} bytes")
        processed = process_image(data, config, limit_memory)
    except Rejected as rejected:
        return ImageRejection(rejected.code, rejected.detail)
    processed.columns.update(bytes_in=len(data), sha256=digest)
    return processed


def _read(request: ImageRequest, source: SourceFolder) -> bytes:
    if request.offset is None:
        return source.read(request.path)
    try:
        with open(request.path, "rb", buffering=0) as file:
            return os.pread(file.fileno(), request.length, request.offset)
    except FileNotFoundError:
        return b""  # a missing body: its digest will not match
