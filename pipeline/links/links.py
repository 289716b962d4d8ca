"""The URLs to check, with the images and classes that the lists give them: those of a build, or of a published list."""

import hashlib
import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

from common.errors import DataError
from pipeline.ingest.rows import check_rows
from pipeline.keyed_hash import keyed_hash
from pipeline.layout import Layout
from pipeline.records import read_records
from pipeline.shards import directory
from schemas.image import IMAGES
from schemas.retrieval import RETRIEVAL, RETRIEVAL_LIST

LIST_ENDINGS = (".csv", ".jsonl", ".parquet")
_ROWS = ["url", "image_id", "class_name", "sha256"]


@dataclass(frozen=True)
class Links:
    """Distinct URLs in alphabetical order: columns url, image_ids, class_names, sha256 (null if it is not known).

    rejections: number of list rows by rejection code.
    """

    table: pa.Table
    rejections: dict[str, int]


def is_list(source: str) -> bool:
    """Return whether a source is a retrieval list, and not the output folder of a build."""
    return source.lower().endswith(LIST_ENDINGS)


def read_links(source: str, sample: int | None = None) -> Links:
    """Return the URLs of a build, given its output folder, or of a retrieval list.

    Those of a build are the URLs that gave an image, with the digest of its original file. sample: how many URLs to choose,
    by a keyed hash, so that every check of these URLs has the same ones. Raises DataError if there are no URLs.
    """
    rows, rejections = _of_list(source) if is_list(source) else (_of_build(source), {})
    if not rows.num_rows:
        found = ", ".join(f"{count:,} {code}" for code, count in rejections.items())
        raise DataError(
            f"{source}: no row has a URL{f' (rejected rows: {found})' if found else ''}; there is nothing to check"
        )
    grouped = rows.group_by("url", use_threads=False).aggregate(
        [("image_id", "distinct"), ("class_name", "distinct"), ("sha256", "first")]
    )
    grouped = grouped.rename_columns(["url", "image_ids", "class_names", "sha256"]).sort_by("url")
    return Links(_sample(grouped, sample), rejections)


def _of_build(build: str) -> pa.Table:
    layout = Layout(build)
    columns = pa.schema([RETRIEVAL.schema.field(name) for name in ("url", "image_id", "class_name")])
    rows = directory.read_all(layout.retrievals, columns)
    rows = rows.filter(pc.is_valid(rows["url"])).combine_chunks()
    images = directory.read_table(layout.images, IMAGES, ["image_id", "sha256"]).combine_chunks()
    index = pc.index_in(rows["image_id"], images["image_id"])
    return rows.append_column("sha256", images["sha256"].take(index))


def _of_list(path: str) -> tuple[pa.Table, dict[str, int]]:
    parts, rejected = [RETRIEVAL.schema.empty_table().select(_ROWS)], []
    for records in read_records(path, RETRIEVAL_LIST):
        classes = pc.unique(records.rows["class_name"]).drop_null().to_pylist()
        good, bad = check_rows(records.rows, classes, "web")
        parts.append(good.filter(pc.is_valid(good["url"])).select(_ROWS))
        rejected += [*bad["code"].to_pylist(), *["malformed_row"] * len(records.malformed)]
    return pa.concat_tables(parts), {code: rejected.count(code) for code in sorted(set(rejected))}


def _sample(links: pa.Table, count: int | None) -> pa.Table:
    if count is None or count >= links.num_rows:
        return links
    order = np.argsort(keyed_hash(links["url"].to_pylist(), 0, "link sample"), kind="stable")
    return links.take(pa.array(np.sort(order[:count])))


def digest_of(links: Links) -> str:
    """Return a digest of the URLs and the digests of their images."""
    digest = hashlib.sha256()
    for url, sha256 in zip(*(links.table[name].to_pylist() for name in ("url", "sha256")), strict=True):
        digest.update(json.dumps([url, sha256]).encode())
    return digest.hexdigest()[:16]
