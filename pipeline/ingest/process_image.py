"""One picture: from where its bytes are to what is stored of it."""

import hashlib
import os
from dataclasses import dataclass
from typing import Any

from pipeline.config import IngestConfig
from pipeline.ingest.decode import Decoded, LimitMemory, beyond_memory, decode, no_limit
from pipeline.ingest.normalize import encode, normalize, open_stored
from pipeline.ingest.source_folder import SourceFolder
from pipeline.ingest.thumbnail import Thumbnail, thumbnail
from pipeline.rejections import Rejected


@dataclass(frozen=True)
class ImageRequest:
    """Where the bytes of a picture are, on this machine.

    Without `offset`, in the file `path` of the source folder; else `length` bytes at `offset` of the file `path`.
    """

    path: str
    offset: int | None = None
    length: int = 0
    fetched: str | None = None
    """Digest of a stored body, from when it was fetched."""
    listed: str | None = None
    """Digest that the retrieval list demands."""


@dataclass(frozen=True)
class ProcessedImage:
    """What is stored of a file, and what was seen of the file."""

    encoded: bytes
    thumbnail: Thumbnail
    """Of the stored picture, so that the fingerprints can be repeated from the shards."""
    seen: dict[str, Any]
    """Columns of the image table."""


@dataclass(frozen=True)
class ImageRejection:
    """The code and the detail of a rejection, as one process reports it to another."""

    code: str
    detail: str


@dataclass(frozen=True)
class DamagedBody:
    """A stored body is not what was fetched."""


ImageResult = ProcessedImage | ImageRejection | DamagedBody


def process_image(data: bytes, config: IngestConfig, limit_memory: LimitMemory = no_limit) -> ProcessedImage:
    """Decode, normalize, encode. Raises Rejected."""
    decoded = decode(data, config, limit_memory)
    try:
        return _make(decoded, config)
    except MemoryError as error:
        detail = beyond_memory(decoded.format, decoded.width, decoded.height)
        raise Rejected("too_many_pixels", detail) from error


def _make(decoded: Decoded, config: IngestConfig) -> ProcessedImage:
    picture = normalize(decoded, config)
    encoded = encode(picture, config)
    seen = {
        "width": decoded.width,
        "height": decoded.height,
        "format": decoded.format,
        "animated": decoded.animated,
    }
    # PNG gives back the pixels that went in; other encodings do not.
    stored = picture if config.format == "png" else open_stored(encoded)
    return ProcessedImage(encoded, thumbnail(stored), seen)


def read_and_process(
    request: ImageRequest, source: SourceFolder, config: IngestConfig, limit_memory: LimitMemory = no_limit
) -> ImageResult:
    """Read the bytes, check their digests and their size, and make the picture."""
    try:
        data = _read(request, source)
        digest = hashlib.sha256(data).hexdigest()
        if request.fetched not in (None, digest):
            return DamagedBody()
        if request.listed not in (None, digest):
            raise Rejected(
                "sha256_mismatch", f"{digest}; correct the list, or provide the file that it means"
            )
        if len(data) > config.max_bytes:  # fetched when the limit was higher
            raise Rejected("too_large", f"more than {config.max_bytes} bytes")
        made = process_image(data, config, limit_memory)
    except Rejected as rejected:
        return ImageRejection(rejected.code, rejected.detail)
    made.seen.update(bytes_in=len(data), sha256=digest)
    return made


def _read(request: ImageRequest, source: SourceFolder) -> bytes:
    if request.offset is None:
        return source.read(request.path)
    try:
        with open(request.path, "rb", buffering=0) as file:
            return os.pread(file.fileno(), request.length, request.offset)
    except FileNotFoundError:
        return b""  # its digest does not match
