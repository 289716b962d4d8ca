"""Who stays for whom: leaks first, then one keeper for each group of near-duplicates.

A keeper stands only for its own neighbours, so a chain a ~ b ~ c does not pull unlike pictures together: whatever
goes is within the radius of what stays for it. The result is a function of the set of images and pairs.
"""

from collections import defaultdict

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.dedupe.neighbours import Pairs
from schemas.duplicate import DUPLICATE
from schemas.retrieval import SOURCES

TEST = SOURCES.index("test")


def keeper_order(images: pd.DataFrame) -> np.ndarray:
    """Positions of the images, best keeper first: test, clean, web; then pixels, bytes, and the id."""
    keys = pd.DataFrame(
        {
            "source": images["source"].map({name: i for i, name in enumerate(SOURCES)}),
            "pixels": -(images["width"].astype(np.int64) * images["height"]),
            "bytes": -images["bytes_in"],
            "id": images["image_id"],
        }
    )
    return keys.sort_values(["source", "pixels", "bytes", "id"], kind="stable").index.to_numpy()


def find_duplicates(images: pd.DataFrame, pairs: Pairs) -> pa.Table:
    """The duplicate table, sorted by image_id.

    `images` has image_id, source, width, height, bytes_in, sha256, with the positions that `pairs` speaks of.
    Every clean or web image near a test image is a leak and is removed; of the others, the best keeper removes its
    neighbours, then the next one of those left, and so on. Test images are never removed, only reported.
    """
    order = keeper_order(images)
    rank = np.empty(len(images), np.int64)
    rank[order] = np.arange(len(images))
    source = images["source"].map({name: i for i, name in enumerate(SOURCES)}).to_numpy()

    neighbours: dict[int, list[tuple[int, int]]] = defaultdict(list)  # image → (pair, other image)
    for number, (a, b) in enumerate(zip(pairs.a.tolist(), pairs.b.tolist(), strict=True)):
        neighbours[a].append((number, b))
        neighbours[b].append((number, a))

    def nearest(number_and_other: tuple[int, int]) -> tuple[int, int, int]:
        number, other = number_and_other
        return int(pairs.distance_256[number]), int(pairs.distance[number]), int(rank[other])

    gone: dict[int, tuple[int, int, str]] = {}  # image → (keeper, pair, reason)
    for image, near in neighbours.items():
        tests = [(number, other) for number, other in near if source[other] == TEST]
        if tests and source[image] != TEST:
            number, other = min(tests, key=nearest)
            gone[image] = (other, number, "leak")
    for keeper in sorted(neighbours, key=lambda image: rank[image]):
        if keeper in gone:
            continue
        for number, other in neighbours[keeper]:
            if (
                other not in gone
                and rank[other] > rank[keeper]
                and (source[keeper] == TEST) == (source[other] == TEST)
            ):
                gone[other] = (keeper, number, "near")
    return _table(images, pairs, gone)


def _table(images: pd.DataFrame, pairs: Pairs, gone: dict[int, tuple[int, int, str]]) -> pa.Table:
    ids, sources, digests = (images[name].tolist() for name in ("image_id", "source", "sha256"))
    rows = []
    for image, (keeper, number, reason) in gone.items():
        exact = reason == "near" and digests[image] == digests[keeper]
        rows.append(
            {
                "image_id": ids[image],
                "source": sources[image],
                "keeper_id": ids[keeper],
                "keeper_source": sources[keeper],
                "distance": int(pairs.distance[number]),
                "distance_256": int(pairs.distance_256[number]),
                "reason": "exact" if exact else reason,
                "removed": sources[image] != "test",
            }
        )
    return DUPLICATE.from_rows(sorted(rows, key=lambda row: row["image_id"]))
