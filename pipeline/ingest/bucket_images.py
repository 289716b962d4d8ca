"""Make the images of one bucket: read, decode, normalize, fingerprint; in the order of their shard key, in bounded memory."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, Any

import numpy as np
import pyarrow as pa

from common.errors import DataError
from pipeline import files
from pipeline.config import IngestConfig
from pipeline.ingest.decode_pool import DecodePool
from pipeline.ingest.downloads import Downloads
from pipeline.ingest.fingerprint import fingerprint_thumbnails
from pipeline.ingest.process_image import DamagedBody, ImageRejection, ImageRequest, ProcessedImage
from pipeline.keyed_hash import shard_key
from pipeline.rejections import Rejected, RequestStats
from schemas.image import IMAGES

BATCH = 64  # pictures that are fingerprinted at once
TABLE_ROWS = 256
SPOOL_BYTES = 32 << 20  # encoded pictures that wait in memory; more of them wait in a temporary file

Line = dict[str, Any]  # of an image that is wanted: columns of `distinct_images`
Row = dict[str, Any]  # of an image; "image" is where its encoded bytes are in the spool: (offset, length)


@dataclass(frozen=True)
class BucketTools:
    """What the images of a bucket are made with.

    source: folder of the lists; bodies: folder of what was fetched. done: called with the number of images each time
    that some are finished.
    """

    pool: DecodePool
    config: IngestConfig
    source: str
    bodies: str
    done: Callable[[int], object] = lambda _: None


def ingest_images(wanted: pa.Table, tools: BucketTools, rejected: dict[str, Rejected]) -> Iterator[pa.Table]:
    """Yield image tables for `wanted`, which has one line per image; add the others to `rejected`, by image id.

    Encoded pictures wait until the last one is finished: up to SPOOL_BYTES in memory, the rest in a temporary file. A
    picture is fingerprinted as it is stored, so the comparison sees what a network sees, and can be repeated from the
    shards.
    """
    lines: list[Line] = wanted.to_pylist()
    with SpooledTemporaryFile(SPOOL_BYTES) as spool:
        rows: list[Row] = []
        batch: list[tuple[Row, ProcessedImage]] = []
        done = 0
        for line, answer in _answers(lines, tools, rejected):
            if isinstance(answer, ImageRejection):
                rejected[line["image_id"]] = Rejected(answer.code, answer.detail, _asked(line))
                continue
            row = {"image_id": line["image_id"], "source": line["source"], **answer.seen}
            batch.append((row | {"image": (spool.tell(), len(answer.encoded))}, answer))
            spool.write(answer.encoded)
            if len(batch) == BATCH:
                rows += _with_fingerprints(batch)
                batch = []
                tools.done(BATCH)
                done += BATCH
        rows += _with_fingerprints(batch)
        tools.done(len(lines) - done)
        order = np.argsort(shard_key(row["image_id"] for row in rows), kind="stable")
        for start in range(0, len(order), TABLE_ROWS):
            yield IMAGES.from_rows(
                _with_bytes(rows[i], spool, tools.config) for i in order[start : start + TABLE_ROWS]
            )


def _answers(
    lines: list[Line], tools: BucketTools, rejected: dict[str, Rejected]
) -> Iterator[tuple[Line, ProcessedImage | ImageRejection]]:
    """Make every picture whose bytes can be had."""
    here: list[tuple[int, ImageRequest]] = []
    for number, line in enumerate(lines):
        if line["path"]:
            here.append((number, ImageRequest(line["path"], listed=line["sha256"])))
        elif line["code"]:
            rejected[line["image_id"]] = Rejected(line["code"], line["detail"] or "", _asked(line))
        else:
            path = files.join(tools.bodies, line["body_file"])
            body = ImageRequest(path, line["offset"], line["length"], line["body_sha256"], line["sha256"])
            here.append((number, body))
    here.sort(key=lambda pair: (pair[1].offset is not None, pair[1].path, pair[1].offset or 0))
    with Downloads(tools.source, tools.config.max_bytes) as downloads:
        local: Iterable[tuple[int, ImageRequest | ImageRejection]] = downloads.fetch(here)
        refused: list[tuple[int, ImageRejection]] = []

        def requests() -> Iterator[tuple[int, ImageRequest]]:
            for number, request in local:
                if isinstance(request, ImageRejection):
                    refused.append((number, request))
                else:
                    yield number, request

        for number, answer in tools.pool.process_all(requests()):
            if isinstance(answer, DamagedBody):
                raise DataError(
                    f"{files.join(tools.bodies, lines[number]['body_file'])}: a stored body is damaged or missing; run "
                    "fetch with --force, which checks every stored body and fetches again what is not intact"
                )
            yield lines[number], answer
        for number, refusal in refused:
            yield lines[number], refusal


def _asked(line: Line) -> RequestStats | None:
    """What was asked of the web for a line, if it has a URL."""
    if line["path"]:
        return None
    return RequestStats(line["host"], line["status"], line["bytes_seen"], line["seconds"], line["attempts"])


def _with_fingerprints(batch: list[tuple[Row, ProcessedImage]]) -> Iterator[Row]:
    if not batch:
        return
    prints = fingerprint_thumbnails([picture.thumbnail for _, picture in batch])
    for i, (row, _) in enumerate(batch):
        yield row | prints.columns(i)


def _with_bytes(row: Row, spool: IO[bytes], config: IngestConfig) -> Row:
    offset, length = row["image"]
    spool.seek(offset)
    return row | {"image": {"bytes": spool.read(length), "path": f"{row['image_id']}.{config.format}"}}
