"""One bucket of images: fetch, decode, normalise, fingerprint, in the order of `place`, with bounded memory."""

import hashlib
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image

from pipeline.config import IngestConfig
from pipeline.ingest.decode import decode
from pipeline.ingest.fetch import Fetcher
from pipeline.ingest.fingerprint import fingerprint
from pipeline.ingest.normalise import encode, normalise
from pipeline.keyed_hash import place
from pipeline.rejections import Rejected
from schemas.image import IMAGES

BATCH = 256  # images held at once

Row = tuple[dict[str, Any], Image.Image]  # an image row, and the picture as it will be read again


def sorted_by_place(frame: pd.DataFrame) -> pd.DataFrame:
    """Sort rows by the place of their image."""
    return frame.iloc[np.argsort(place(frame["image_id"]), kind="stable")]


def ingest_images(
    wanted: pd.DataFrame, base: str, config: IngestConfig
) -> Iterator[tuple[pa.Table, dict[str, Rejected]]]:
    """Yield (image table, rejections by image id) for batches of `wanted`, which has a line an image.

    A fetched picture is fingerprinted as it will be read again, from its stored bytes: what a network sees
    is what is compared, and whoever has the shards can repeat it.
    """
    fetcher = Fetcher(base, config)
    wanted = sorted_by_place(wanted)
    remote = bool(wanted["url"].notna().any())
    # Waiting is most of the work of a download, and none of the work of a local file.
    with ThreadPoolExecutor(config.fetch_threads if remote else 1) as pool:
        for start in range(0, len(wanted), BATCH):
            lines = wanted.iloc[start : start + BATCH].to_dict("records")
            results = list(pool.map(lambda line: _ingest_one(line, fetcher, config), lines))
            rows = [result for result in results if not isinstance(result, Rejected)]
            rejected = {
                str(line["image_id"]): result
                for line, result in zip(lines, results, strict=True)
                if isinstance(result, Rejected)
            }
            yield _with_fingerprints(rows), rejected
    fetcher.close()


def _ingest_one(line: dict[Any, Any], fetcher: Fetcher, config: IngestConfig) -> Row | Rejected:
    try:
        data = fetcher.fetch(line["path"], line["url"])
        decoded = decode(data, config)
        picture = normalise(decoded, config)
        stored = encode(picture, config)
    except Rejected as rejected:
        return rejected
    # PNG gives back the pixels that went in; other encodings do not.
    seen = picture if config.format == "png" else open_stored(stored)
    row = {
        "image_id": line["image_id"],
        "source": line["source"],
        "image": {"bytes": stored, "path": f"{line['image_id']}.{config.format}"},
        "width": decoded.width,
        "height": decoded.height,
        "format": decoded.format,
        "animated": decoded.animated,
        "bytes_in": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    return row, seen


def _with_fingerprints(rows: list[Row]) -> pa.Table:
    pictures = [picture for _, picture in rows]
    prints = fingerprint(pictures)
    return IMAGES.from_rows({**row, **prints.columns(i)} for i, (row, _) in enumerate(rows))


def open_stored(data: bytes) -> Image.Image:
    """Decode a picture that the pipeline itself has encoded."""
    return Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP")).convert("RGB")
