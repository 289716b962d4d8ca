"""Who stays for whom: leaks first, then one keeper for each group of near-duplicates.

A keeper stands only for its own neighbors, so a chain a ~ b ~ c does not pull unlike pictures together: whatever
goes is within the radius of what stays for it. The result is a function of the set of images and pairs.

Images of one source with the same thumbnail have the same hashes and neighbors, so they are one node here: ten thousand
copies of a picture cost no more than one.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.config import DedupeConfig
from pipeline.dedupe.confirm import DuplicatePairs, confirm_pairs
from pipeline.dedupe.neighbors import HashPairs
from pipeline.dedupe.orientations import confirm_oriented
from pipeline.dedupe.thumbnail_check import ThumbnailCheck
from schemas.duplicate import DUPLICATE, ORIENTATIONS
from schemas.retrieval import SOURCES

TEST, CLEAN = SOURCES.index("test"), SOURCES.index("clean")
RULES = (
    "source",
    "pixels",
    "sharpness",
    "bytes",
    "id",
)  # who is the better keeper, by the first that differs


@dataclass(frozen=True)
class _Gone:
    """Why a node goes, or is reported: the node that stays for it, and the pair that says so (None: a copy)."""

    keeper: int
    distance: tuple[int, int]
    orientation: int = 0
    leak: bool = False


def keeper_keys(images: pd.DataFrame) -> pd.DataFrame:
    """What keepers are chosen by, smaller is better: test, clean, web; pixels; sharpness; bytes; the id."""
    return pd.DataFrame(
        {
            "source": images["source"].map({name: i for i, name in enumerate(SOURCES)}),
            "pixels": -(images["width"].astype(np.int64) * images["height"]),
            "sharpness": -images["sharpness"],
            "bytes": -images["bytes_in"],
            "id": images["image_id"],
        }
    )


def find_duplicates(
    images: pd.DataFrame, near: HashPairs, config: DedupeConfig
) -> tuple[pa.Table, dict[str, int]]:
    """The duplicate table, sorted by image_id, and counts of the pairs of fingerprints behind it.

    `images` has the fingerprints, and what `keeper_keys` asks for, of at least all images whose 64-bit hash is in
    `near`, which holds (u, u) for a hash that several images have. Images of less contrast than the configured one
    are duplicates only of files with the same bytes. Every web image near a test image is a leak and is removed, and
    so is every clean one unless the configuration keeps them; of the others, the best keeper removes its neighbors,
    then the next one of those left, and so on. Test images are never removed, only reported.
    """
    # From here on a position is the rank of an image as a keeper, and so is a node's number: that of its best image.
    keys = keeper_keys(images).sort_values(list(RULES), kind="stable")
    images = images.loc[keys.index].reset_index(drop=True)
    source = keys["source"].to_numpy()
    node = _nodes(images, config.min_contrast)
    pairs, compared = _node_pairs(images, node, near, config)
    gone = _gone(pairs, source, config.clean_leaks == "keep")

    rows = []
    digests = images["sha256"].tolist()
    columns = [keys[rule].to_numpy() for rule in RULES]
    for image, best in enumerate(node.tolist()):
        why = gone.get(best)
        if why is None:
            if image == best:
                continue
            why = _Gone(best, (0, 0))
        reported = source[image] == TEST
        if why.leak and source[image] == CLEAN and config.clean_leaks == "keep":
            # The best of its copies is only reported, the others go for it.
            reported = image == best
            why = why if reported else _Gone(best, (0, 0))
        keeper = why.keeper
        copy = not why.leak and digests[image] == digests[keeper]
        rows.append(
            {
                "image_id": images["image_id"][image],
                "source": images["source"][image],
                "keeper_id": images["image_id"][keeper],
                "keeper_source": images["source"][keeper],
                "distance": why.distance[0],
                "distance_256": why.distance[1],
                "orientation": ORIENTATIONS[why.orientation],
                "reason": "leak" if why.leak else "exact" if copy else "near",
                "rule": next(r for r, key in zip(RULES, columns, strict=True) if key[image] != key[keeper]),
                "removed": not reported,
            }
        )
    table = DUPLICATE.from_rows(sorted(rows, key=lambda row: row["image_id"]))
    return table, {"candidate_pairs": compared, "confirmed_pairs": len(pairs)}


def _nodes(images: pd.DataFrame, min_contrast: float) -> np.ndarray:
    """For each image the first one of its source with the same thumbnail, or bytes where it is flat."""
    flat = images["contrast"] < min_contrast
    thumbnail = images["thumbnail"].map(bytes.hex)
    name = images["source"].str.cat(thumbnail.where(~flat, images["sha256"]), sep=" ")
    first = ~name.duplicated()
    return name.map(pd.Series(np.flatnonzero(first), name[first])).to_numpy(np.int64)


def _node_pairs(
    images: pd.DataFrame, node: np.ndarray, near: HashPairs, config: DedupeConfig
) -> tuple[DuplicatePairs, int]:
    is_node = node == np.arange(len(node))
    flat = (images["contrast"] < config.min_contrast).to_numpy()
    at = np.flatnonzero(is_node & ~flat)
    short = images["phash"].to_numpy()[at]
    long = np.frombuffer(b"".join(images["phash_256"].iloc[at]), np.uint8).reshape(-1, 32)
    thumbnails = ThumbnailCheck.of(images["thumbnail"].iloc[at].tolist())
    if config.orientations:
        turned = np.array(images["phash_orientations"].iloc[at].tolist(), np.uint64).reshape(-1, 3)
        pairs, compared = confirm_oriented(short, turned, long, near, config.confirm_radius, thumbnails)
    else:
        pairs, compared = confirm_pairs(short, long, near, config.confirm_radius, thumbnails.agree)
    # Flat pictures: the same bytes in two sources.
    copies = images.loc[is_node & flat, ["sha256"]].reset_index()
    copies = copies.merge(copies, on="sha256")[["index_x", "index_y"]].to_numpy()
    copies = copies[copies[:, 0] < copies[:, 1]]
    none = np.zeros(len(copies), np.int64)
    return (
        DuplicatePairs(
            np.concatenate([at[pairs.a], copies[:, 0]]),
            np.concatenate([at[pairs.b], copies[:, 1]]),
            np.concatenate([pairs.distance, none]),
            np.concatenate([pairs.distance_256, none]),
            np.concatenate([pairs.orientation, none]),
        ),
        compared,
    )


def _gone(pairs: DuplicatePairs, source: np.ndarray, keep_clean: bool) -> dict[int, _Gone]:
    """Which nodes go, or are only reported."""
    # Node → (distance of 256 bits, of 64, other node, orientation).
    neighbors: dict[int, list[tuple[int, int, int, int]]] = defaultdict(list)
    columns = (pairs.a, pairs.b, pairs.distance, pairs.distance_256, pairs.orientation)
    for a, b, short, long, orientation in zip(*(column.tolist() for column in columns), strict=True):
        neighbors[a].append((long, short, b, orientation))
        neighbors[b].append((long, short, a, orientation))
    gone: dict[int, _Gone] = {}
    kept_leaks: dict[int, _Gone] = {}
    for node, near in neighbors.items():
        tests = [one for one in near if source[one[2]] == TEST]
        if tests and source[node] != TEST:
            long, short, keeper, orientation = min(tests)
            leak = _Gone(keeper, (short, long), orientation, leak=True)
            (kept_leaks if keep_clean and source[node] == CLEAN else gone)[node] = leak
    for keeper in sorted(neighbors):
        if keeper in gone:
            continue
        for long, short, other, orientation in neighbors[keeper]:
            if other > keeper and other not in gone and (source[keeper] == TEST) == (source[other] == TEST):
                gone[other] = _Gone(keeper, (short, long), orientation)
    return kept_leaks | gone
