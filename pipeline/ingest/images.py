"""One bucket of images: fetch, decode, normalise, fingerprint, in the order of `place`, with bounded memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image

from pipeline.config import IngestConfig
from pipeline.ingest.fetch import Fetched, Fetcher, Line
from pipeline.ingest.fingerprint import fingerprint
from pipeline.ingest.picture import Picture
from pipeline.ingest.store import Store
from pipeline.keyed_hash import place
from pipeline.rejections import Rejected
from schemas.image import IMAGES

BATCH = 64  # pictures that are fingerprinted at once
TABLE_ROWS = 256

Row = dict[str, Any]  # of an image; "image" is where its encoded bytes lie in the spool: (offset, length)


@dataclass(frozen=True)
class Tools:
    """What the images of a bucket are made with."""

    fetcher: Fetcher
    store: Store
    config: IngestConfig
    make: Callable[[bytes], Picture]
    retry: frozenset[str] = frozenset()  # codes of rejections that are to be given another try
    advance: Callable[[int], object] = int  # is told how many images are done


def ingest_images(wanted: pd.DataFrame, tools: Tools, rejected: dict[str, Rejected]) -> Iterator[pa.Table]:
    """Yield image tables for `wanted`, which has a line an image; `rejected` gets the others, by image id.

    Pictures are decoded as they come, and wait in a temporary file until all are there: a slow host holds up nobody,
    and memory holds some of them at a time. A picture is fingerprinted as it will be read again, from its stored bytes:
    what a network sees is what is compared, and whoever has the shards can repeat it.
    """
    lines = [{str(name): value for name, value in line.items()} for line in wanted.to_dict("records")]
    with TemporaryFile() as spool:
        rows: list[Row] = []
        batch: list[tuple[Row, Image.Image]] = []
        for done, (line, result) in enumerate(_results(lines, tools, spool), 1):
            if done % BATCH == 0 or done == len(lines):
                tools.advance((done - 1) % BATCH + 1)
            if isinstance(result, Rejected):
                rejected[line["image_id"]] = result
                continue
            batch.append(result)
            if len(batch) == BATCH:
                rows += _with_fingerprints(batch)
                batch = []
        rows += _with_fingerprints(batch)
        order = np.argsort(place(row["image_id"] for row in rows), kind="stable")
        for start in range(0, len(order), TABLE_ROWS):
            yield IMAGES.from_rows(
                _with_bytes(rows[i], spool, tools.config) for i in order[start : start + TABLE_ROWS]
            )


def _results(
    lines: list[Line], tools: Tools, spool: IO[bytes]
) -> Iterator[tuple[Line, tuple[Row, Image.Image] | Rejected]]:
    again: list[Line] = []
    for line, fetched in tools.fetcher.fetch_all(lines, tools.store, tools.retry):
        result = _ingest_one(line, fetched, tools, spool)
        if isinstance(result, Rejected) and result.code in tools.retry and tools.store.keeps(line["url"]):
            again.append(line)  # what was fetched is no good; there may be something else now
        else:
            yield line, result
    for line, fetched in tools.fetcher.fetch_all(again, tools.store, tools.retry, fresh=True):
        yield line, _ingest_one(line, fetched, tools, spool)


def _ingest_one(
    line: Line, fetched: Fetched | Rejected, tools: Tools, spool: IO[bytes]
) -> tuple[Row, Image.Image] | Rejected:
    """The row of an image, and the picture as it will be read again."""
    if isinstance(fetched, Rejected):
        return fetched
    try:
        if line["sha256"] not in (None, fetched.sha256):
            raise Rejected(
                "sha256_mismatch", f"{fetched.sha256}; mend the list, or look for the file it means"
            )
        if len(fetched.data) > tools.config.max_bytes:  # it was kept when the limit was higher
            raise Rejected("too_large", f"more than {tools.config.max_bytes} bytes")
        made = tools.make(fetched.data)
    except Rejected as rejected:
        rejected.asked = fetched.asked
        return rejected
    row = {
        "image_id": line["image_id"],
        "source": line["source"],
        "image": (spool.tell(), len(made.encoded)),
        "bytes_in": len(fetched.data),
        "sha256": fetched.sha256,
        **made.seen,
    }
    spool.write(made.encoded)
    return row, made.pixels


def _with_fingerprints(batch: list[tuple[Row, Image.Image]]) -> Iterator[Row]:
    prints = fingerprint([picture for _, picture in batch])
    for i, (row, _) in enumerate(batch):
        yield row | prints.columns(i)


def _with_bytes(row: Row, spool: IO[bytes], config: IngestConfig) -> Row:
    offset, length = row["image"]
    spool.seek(offset)
    return row | {"image": {"bytes": spool.read(length), "path": f"{row['image_id']}.{config.format}"}}
