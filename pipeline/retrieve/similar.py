"""Write a retrieval list by image-to-image search: web images of a build that are near clean images of another class."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

from common.errors import UsageError
from pipeline import files
from pipeline.embed.features import Features, read_features
from pipeline.embed.similar import BLOCK, Nearest, find_similar
from pipeline.keyed_hash import shard_key
from pipeline.layout import Layout
from pipeline.retrieve.search import check_new, write_list
from pipeline.shards import directory
from pipeline.shards.ingested_lists import read_ingested_lists
from schemas.manifest import MANIFEST
from schemas.retrieval import ATTRIBUTION, RETRIEVAL

COLUMNS = (
    "image_id",
    "class_name",
    "path",
    "url",
    "method",
    "rank",
    "query_image_id",
    "similarity",
    *[field.name for field in ATTRIBUTION],
)


@dataclass(frozen=True)
class Pool:
    """The rows of a build's lists: query images are clean, and the images that are searched are those of web lists."""

    classes: list[str]
    clean: pa.Table
    web: pa.Table


def retrieve_similar(build: str, per_class: int, output: str) -> dict[str, Any]:
    """Write the list `output`, and return the number of rows of each class.

    Rows have `method` image, the rank by similarity, the id of the clean image that was the query, and the path or URL of the
    image. A pair of image and class that a web list contains already is left out. Raises UsageError if `output` cannot be a
    new list, DataError if the build has no features of its present images.
    """
    check_new("--output", output)
    if per_class < 1:
        raise UsageError(f"--per-class {per_class}: give a number of 1 or more")
    layout = Layout(build)
    directory.read_manifest(layout.images)  # or an error that says what is missing
    images_digest = files.sha256(files.join(layout.images, MANIFEST))
    directory.check_current(layout.features, images_digest, "embed")
    pool = _read_pool(layout)
    features = read_features(layout.features, check_digests=True)
    found, web_ids, clean_ids = _search(pool, features, per_class)
    rows = _rows(pool, found, web_ids, clean_ids)
    files.make_folder(os.path.dirname(output) or ".")
    write_list(rows, output, COLUMNS)
    counts = {name: len(each.rows) for name, each in zip(pool.classes, found, strict=True)}
    return {"rows": len(rows), "pool": len(web_ids), "classes": counts}


def _read_pool(layout: Layout) -> Pool:
    rows = directory.read_table(layout.retrievals, RETRIEVAL)
    classes = read_ingested_lists(layout.retrievals).classes
    return Pool(
        classes, rows.filter(pc.equal(rows["source"], "clean")), rows.filter(pc.equal(rows["source"], "web"))
    )


def _search(pool: Pool, features: Features, per_class: int) -> tuple[list[Nearest], pa.Array, list[pa.Array]]:
    """Return the nearest web images of each class, the ids of all web images, and the ids of the query images."""
    ids = features.image_ids.combine_chunks()
    web = np.flatnonzero(pc.is_in(ids, pc.unique(pool.web["image_id"])).to_numpy(zero_copy_only=False))
    queries = []
    for name in pool.classes:
        of_class = pool.clean.filter(pc.equal(pool.clean["class_name"], name))["image_id"]
        queries.append(
            np.flatnonzero(pc.is_in(ids, of_class.combine_chunks()).to_numpy(zero_copy_only=False))
        )
    web_ids = ids.take(pa.array(web))
    allowed = np.ones((len(web), len(pool.classes)), bool)
    numbers = pc.index_in(pool.web["class_name"], pa.array(pool.classes)).to_numpy()
    positions = pc.index_in(pool.web["image_id"], web_ids).to_numpy()
    listed = ~(np.isnan(numbers.astype(float)) | np.isnan(positions.astype(float)))
    allowed[positions[listed].astype(np.int64), numbers[listed].astype(np.int64)] = False
    keys = shard_key(web_ids)
    blocks = (
        (features.vectors[web[part]], keys[part], allowed[part])
        for part in (slice(start, start + BLOCK) for start in range(0, len(web), BLOCK))
    )
    found = find_similar([features.vectors[rows] for rows in queries], blocks, per_class)
    return found, web_ids, [ids.take(pa.array(rows)) for rows in queries]


def _rows(
    pool: Pool, found: list[Nearest], web_ids: pa.Array, queries: list[pa.Array]
) -> list[dict[str, Any]]:
    """Return the rows of the list, class by class; columns of an image are those of its first row in a web list."""
    names = ["path", "url", *[field.name for field in ATTRIBUTION]]
    wanted = pa.array(np.unique(np.concatenate([np.empty(0, np.int64), *(each.rows for each in found)])))
    chosen = web_ids.take(wanted)
    rows = pool.web.filter(pc.is_in(pool.web["image_id"], chosen)).select(["image_id", *names]).to_pylist()
    facts = {row["image_id"]: row for row in reversed(rows)}
    result = []
    for name, nearest, of_class in zip(pool.classes, found, queries, strict=True):
        for rank, (row, query, cosine) in enumerate(
            zip(nearest.rows, nearest.queries, nearest.cosines, strict=True)
        ):
            image = facts[web_ids[int(row)].as_py()]
            result.append(
                {
                    **image,
                    "class_name": name,
                    "method": "image",
                    "rank": rank,
                    "query_image_id": of_class[int(query)].as_py(),
                    "similarity": f"{cosine:.3f}",
                }
            )
    return result
