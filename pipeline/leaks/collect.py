"""Fingerprint a collection of images in decoding processes; images that are known by their bytes are not decoded again."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np

from pipeline.dedupe.feature_neighbors import rounded_vectors
from pipeline.dedupe.local_match import match_image
from pipeline.embed.loading import open_network
from pipeline.embed.preprocess import read_pixels
from pipeline.embed.spec import NetworkSpec
from pipeline.ingest.decode_pool import DecodePool
from pipeline.ingest.fingerprint import fingerprint_thumbnails
from pipeline.ingest.normalize import decode_stored
from pipeline.ingest.process_image import ImageRejection, ImageRequest, ProcessedImage
from pipeline.ingest_config import IngestConfig
from pipeline.leaks.inputs import Encoded
from pipeline.leaks.print_cache import PrintCache

CONFIG = IngestConfig(size=224, resize="exact")  # the whole image: a build may cut off other parts of a copy
IMAGES_AT_ONCE, BYTES_AT_ONCE = 256, 64 << 20  # a batch ends at either


@dataclass
class Collection:
    """The images of a collection that can be decoded: ids and digests; rejections: (id, code, detail) of the others."""

    ids: list[str] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    rejections: list[tuple[str, str, str]] = field(default_factory=list)
    decoded: int = 0

    @property
    def rejected(self) -> dict[str, int]:
        """Number of rejected images by code."""
        return dict(Counter(code for _, code, _ in self.rejections))


def collect(images: Iterable[Encoded], cache: PrintCache, spec: NetworkSpec | None) -> Collection:
    """Return the images of a collection, and add to `cache` those that it lacks, with features of `spec` if there is one."""
    found = Collection()
    pool = DecodePool(".", CONFIG, os.cpu_count() or 1)
    try:
        for batch in _batches(images):
            _add(batch, cache, spec, pool, found)
    finally:
        pool.close()
    return found


def _batches(images: Iterable[Encoded]) -> Iterator[list[Encoded]]:
    batch: list[Encoded] = []
    size = 0
    for image in images:
        batch.append(image)
        size += len(image.data)
        if len(batch) >= IMAGES_AT_ONCE or size >= BYTES_AT_ONCE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _add(
    batch: list[Encoded],
    cache: PrintCache,
    spec: NetworkSpec | None,
    pool: DecodePool,
    found: Collection,
) -> None:
    digests = [sha256(each.data).hexdigest() for each in batch]
    unknown = {
        digest: each.data
        for digest, each in zip(digests, batch, strict=True)
        if each.data and digest not in cache
    }
    refused: dict[str, ImageRejection] = {}
    processed: dict[str, ProcessedImage] = {}
    for digest, result in _decoded(unknown, pool):
        if isinstance(result, ProcessedImage):
            processed[digest] = result
        else:
            refused[digest] = result
    new = [(digest, processed[digest]) for digest in unknown if digest in processed]
    found.decoded += len(unknown)
    cache.add(_rows(new, spec))
    for each, digest in zip(batch, digests, strict=True):
        rejection = each.rejection or refused.get(digest)
        if rejection:
            found.rejections.append((each.image_id, rejection.code, rejection.detail))
        else:
            found.ids.append(each.image_id)
            found.digests.append(digest)


def _decoded(
    unknown: dict[str, bytes], pool: DecodePool
) -> Iterator[tuple[str, ProcessedImage | ImageRejection]]:
    """Decode images in the processes of the pool, which read their bytes from a temporary file."""
    with NamedTemporaryFile(prefix="leaks-") as file:
        requests = []
        for digest, data in unknown.items():
            requests.append((digest, ImageRequest(file.name, file.tell(), len(data))))
            file.write(data)
        file.flush()
        for digest, result in pool.process_all(requests):
            assert isinstance(result, ProcessedImage | ImageRejection)
            yield digest, result


def _rows(images: list[tuple[str, ProcessedImage]], spec: NetworkSpec | None) -> list[dict[str, Any]]:
    if not images:
        return []
    prints = fingerprint_thumbnails([image.thumbnail for _, image in images])
    rows = [{"sha256": digest, **prints.columns(i)} for i, (digest, _) in enumerate(images)]
    if spec:
        network = open_network(spec)
        for start in range(0, len(images), spec.batch_size):
            part = images[start : start + spec.batch_size]
            pixels = [read_pixels(image.encoded, digest, network.preprocessing) for digest, image in part]
            vectors = rounded_vectors(network.features(np.stack(pixels)))
            for row, vector, (_, image) in zip(rows[start:], vectors, part, strict=False):
                row["vector"] = vector
                row["levels"] = match_image(decode_stored(image.encoded)).tobytes()
    return rows
