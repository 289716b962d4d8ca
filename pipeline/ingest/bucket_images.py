"""Process the images of one bucket in bounded memory, and return them in the order of their shard keys."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, Any

import numpy as np
import pyarrow as pa

from common.errors import DataError
from pipeline import files
from pipeline.ingest.decode_pool import DecodePool
from pipeline.ingest.downloads import Downloads
from pipeline.ingest.fingerprint import fingerprint_thumbnails
from pipeline.ingest.process_image import DamagedBody, ImageRejection, ImageRequest, ProcessedImage
from pipeline.ingest_config import IngestConfig
from pipeline.keyed_hash import shard_key
from pipeline.rejections import Rejected, RequestStats
from schemas.image import IMAGES

BATCH = 64  # images that are fingerprinted at once
TABLE_ROWS = 256
SPOOL_BYTES = 32 << 20  # encoded images that are kept in memory; further ones are kept in a temporary file

Line = dict[str, Any]  # a row of `distinct_images`
Row = dict[
    str, Any
]  # a row of the image table, "image" being (offset, length) of its encoded bytes in the spool


@dataclass(frozen=True)
class BucketContext:
    """Everything that processing the images of a bucket needs besides the rows.

    source: base folder of the lists. bodies: folder of the stored bodies. report_done: called with the number of images
    that were finished since the last call.
    """

    pool: DecodePool
    config: IngestConfig
    source: str
    bodies: str
    report_done: Callable[[int], object] = lambda _: None


def ingest_images(
    wanted: pa.Table, context: BucketContext, rejected: dict[str, Rejected]
) -> Iterator[pa.Table]:
    """Yield image tables for `wanted` (one row per image); add images that fail to `rejected`, by image id.

    Encoded images are kept until the last one is finished: up to SPOOL_BYTES in memory, the rest in a temporary file.
    Fingerprints are those of the stored image, which a network sees, and can be recomputed from the shards.
    """
    lines: list[Line] = wanted.to_pylist()
    with SpooledTemporaryFile(SPOOL_BYTES) as spool:
        rows: list[Row] = []
        batch: list[tuple[Row, ProcessedImage]] = []
        done = 0
        for line, result in _results(lines, context, rejected):
            if isinstance(result, ImageRejection):
                rejected[line["image_id"]] = Rejected(result.code, result.detail, _request_stats(line))
                continue
            row = {"image_id": line["image_id"], "source": line["source"], **result.columns}
            batch.append((row | {"image": (spool.tell(), len(result.encoded))}, result))
            spool.write(result.encoded)
            if len(batch) == BATCH:
                rows += _with_fingerprints(batch)
                batch = []
                context.report_done(BATCH)
                done += BATCH
        rows += _with_fingerprints(batch)
        context.report_done(len(lines) - done)
        order = np.argsort(shard_key(row["image_id"] for row in rows), kind="stable")
        for start in range(0, len(order), TABLE_ROWS):
            yield IMAGES.from_rows(
                _with_bytes(rows[i], spool, context.config) for i in order[start : start + TABLE_ROWS]
            )


def _results(
    lines: list[Line], context: BucketContext, rejected: dict[str, Rejected]
) -> Iterator[tuple[Line, ProcessedImage | ImageRejection]]:
    """Yield the result of every image whose bytes are available."""
    located: list[tuple[int, ImageRequest]] = []
    for number, line in enumerate(lines):
        if line["path"]:
            located.append((number, ImageRequest(line["path"], listed_sha256=line["sha256"])))
        elif line["code"]:
            rejected[line["image_id"]] = Rejected(line["code"], line["detail"] or "", _request_stats(line))
        else:
            path = files.join(context.bodies, line["body_file"])
            body = ImageRequest(path, line["offset"], line["length"], line["body_sha256"], line["sha256"])
            located.append((number, body))
    located.sort(key=lambda pair: (pair[1].offset is not None, pair[1].path, pair[1].offset or 0))
    with Downloads(context.source, context.config.max_bytes) as downloads:
        local: Iterable[tuple[int, ImageRequest | ImageRejection]] = downloads.fetch(located)
        refused: list[tuple[int, ImageRejection]] = []

        def requests() -> Iterator[tuple[int, ImageRequest]]:
            for number, request in local:
                if isinstance(request, ImageRejection):
                    refused.append((number, request))
                else:
                    yield number, request

        for number, result in context.pool.process_all(requests()):
            downloads.discard(number)
            if isinstance(result, DamagedBody):
                raise DataError(
                    f"{files.join(context.bodies, lines[number]['body_file'])}: a stored body is damaged or missing; run "
                    "fetch with --force, which checks every stored body and fetches the damaged ones again"
                )
            yield lines[number], result
        for number, refusal in refused:
            yield lines[number], refusal


def _request_stats(line: Line) -> RequestStats | None:
    """Return the statistics of the requests for a line's URL, if it has one."""
    if line["path"]:
        return None
    return RequestStats(line["host"], line["status"], line["bytes_seen"], line["seconds"], line["attempts"])


def _with_fingerprints(batch: list[tuple[Row, ProcessedImage]]) -> Iterator[Row]:
    if not batch:
        return
    fingerprints = fingerprint_thumbnails([image.thumbnail for _, image in batch])
    for i, (row, _) in enumerate(batch):
        yield row | fingerprints.columns(i)


def _with_bytes(row: Row, spool: IO[bytes], config: IngestConfig) -> Row:
    offset, length = row["image"]
    spool.seek(offset)
    return row | {"image": {"bytes": spool.read(length), "path": f"{row['image_id']}.{config.format}"}}
