"""Choose what is removed: leaks first, then all but one keeper of each group of near-duplicates.

A keeper removes only its own neighbors, so a chain a ~ b ~ c does not remove unlike images: whatever is removed is
within the radius of its keeper. The result is a function of the sets of images and pairs.

Images of one source with the same thumbnail have the same hashes and neighbors, so they are one node here: ten thousand
copies of an image cost no more than one.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.config import DedupeConfig
from pipeline.dedupe.confirm import DuplicatePairs
from pipeline.dedupe.neighbors import HashPairs
from pipeline.dedupe.orientations import confirm_oriented, oriented_long_hashes
from pipeline.dedupe.thumbnail_check import ThumbnailCheck
from schemas.duplicate import DUPLICATE, ORIENTATIONS, SEARCHED_ORIENTATIONS
from schemas.retrieval import SOURCES

TEST, CLEAN = SOURCES.index("test"), SOURCES.index("clean")
RULES = ("source", "pixels", "sharpness", "bytes", "id")
"""Criteria of the better keeper; the first that differs decides."""


@dataclass(frozen=True)
class _Removal:
    """Why a node is removed or reported: the node that stays for it, and the distances of the pair (0: a copy).

    match: that of altered copies, None for near hashes.
    """

    keeper: int
    distance: tuple[int, int]
    orientation: int = 0
    is_leak: bool = False
    match: float | None = None


def keeper_keys(images: pd.DataFrame) -> pd.DataFrame:
    """Return the sort keys of RULES, smaller is better: test, clean, web; more pixels; sharper; more bytes; the id."""
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
    images: pd.DataFrame, near: HashPairs, config: DedupeConfig, copies: pa.Table | None = None
) -> tuple[pa.Table, dict[str, int]]:
    """Return the duplicate table, sorted by image_id, and counts of the compared pairs of fingerprints.

    images: the fingerprints and the columns of `keeper_keys`, of at least all images whose 64-bit hash is in `near`. near:
    pairs of near hashes, with (u, u) for a hash of several images. copies: altered copies of test images (MATCHED of
    `altered_copies`), whose images are in `images`, too. Images with less than the configured contrast are duplicates only
    of files with the same bytes. Every web image near a test image, or an altered copy of one, is a leak and is removed, and
    so is every clean one unless the configuration keeps them. Of the others, the best keeper removes its neighbors, then the
    best remaining one, and so on. Test images are never removed, only reported.
    """
    # Rows are sorted by their rank as a keeper; a node has the row number of its best image.
    keys = keeper_keys(images).sort_values(list(RULES), kind="stable")
    images = images.loc[keys.index].reset_index(drop=True)
    source = keys["source"].to_numpy()
    node = _nodes(images, config.min_contrast)
    pairs, compared = _node_pairs(images, node, near, config)
    keep_clean = config.clean_leaks == "keep"
    altered = _altered(copies, images, node) if copies else {}
    removals = _removals(pairs, source, keep_clean, altered)

    rows = []
    digests = images["sha256"].tolist()
    columns = [keys[rule].to_numpy() for rule in RULES]
    for image, best in enumerate(node.tolist()):
        removal = removals.get(best)
        if removal is None:
            if image == best:
                continue
            removal = _Removal(best, (0, 0))
        is_reported = source[image] == TEST
        if removal.is_leak and source[image] == CLEAN and keep_clean:
            # The best of its copies is only reported; the others are removed as its copies.
            is_reported = image == best
            removal = removal if is_reported else _Removal(best, (0, 0))
        keeper = removal.keeper
        is_copy = not removal.is_leak and digests[image] == digests[keeper]
        rows.append(
            {
                "image_id": images["image_id"][image],
                "source": images["source"][image],
                "keeper_id": images["image_id"][keeper],
                "keeper_source": images["source"][keeper],
                "distance": removal.distance[0],
                "distance_256": removal.distance[1],
                "orientation": ORIENTATIONS[removal.orientation],
                "witness": "hash" if removal.match is None else "embedding",
                "match": removal.match,
                "reason": "leak" if removal.is_leak else "exact" if is_copy else "near",
                "rule": next(
                    rule for rule, key in zip(RULES, columns, strict=True) if key[image] != key[keeper]
                ),
                "removed": not is_reported,
            }
        )
    table = DUPLICATE.from_rows(sorted(rows, key=lambda row: row["image_id"]))
    return table, {"candidate_pairs": compared, "confirmed_pairs": len(pairs)}


def _nodes(images: pd.DataFrame, min_contrast: float) -> np.ndarray:
    """Return for each image the first row of its source with the same thumbnail, or the same bytes if it is flat."""
    is_flat = images["contrast"] < min_contrast
    thumbnail = images["thumbnail"].map(bytes.hex)
    name = images["source"].str.cat(thumbnail.where(~is_flat, images["sha256"]), sep=" ")
    is_first = ~name.duplicated()
    return name.map(pd.Series(np.flatnonzero(is_first), name[is_first])).to_numpy(np.int64)


def _node_pairs(
    images: pd.DataFrame, node: np.ndarray, near: HashPairs, config: DedupeConfig
) -> tuple[DuplicatePairs, int]:
    """Return the near-duplicate pairs of nodes, and how many pairs were compared."""
    is_node = node == np.arange(len(node))
    is_flat = (images["contrast"] < config.min_contrast).to_numpy()
    rows = np.flatnonzero(is_node & ~is_flat)
    short = images["phash"].to_numpy()[rows]
    long = _long_hashes(images.iloc[rows])
    thumbnails = ThumbnailCheck.of(images["thumbnail"].iloc[rows].tolist())
    count = SEARCHED_ORIENTATIONS[config.orientations]
    mirrored = np.empty((len(rows), 0), np.uint64)
    if count > 1:
        mirrored = np.array(images["phash_orientations"].iloc[rows].tolist(), np.uint64).reshape(-1, 3)
    pairs, compared = confirm_oriented(short, mirrored, long, near, config.confirm_radius, thumbnails, count)
    # Flat images are paired if they have the same bytes in two sources.
    copies = images.loc[is_node & is_flat, ["sha256"]].reset_index()
    copies = copies.merge(copies, on="sha256")[["index_x", "index_y"]].to_numpy()
    copies = copies[copies[:, 0] < copies[:, 1]]
    zeros = np.zeros(len(copies), np.int64)
    return (
        DuplicatePairs(
            np.concatenate([rows[pairs.a], copies[:, 0]]),
            np.concatenate([rows[pairs.b], copies[:, 1]]),
            np.concatenate([pairs.distance, zeros]),
            np.concatenate([pairs.distance_256, zeros]),
            np.concatenate([pairs.orientation, zeros]),
        ),
        compared,
    )


def _altered(copies: pa.Table, images: pd.DataFrame, node: np.ndarray) -> dict[int, _Removal]:
    """Return the nodes with an altered copy of a test image; of several, the one with the highest match counts."""
    row_of = pd.Series(np.arange(len(images)), images["image_id"])
    found: dict[int, _Removal] = {}
    ranked = copies.sort_by([("match", "descending"), ("image_id", "ascending")]).to_pylist()
    for each in ranked:
        row, test = int(row_of[each["image_id"]]), int(row_of[each["test_id"]])
        orientation = int(each["is_mirrored"])
        short = _oriented_phash(images, test, orientation) ^ int(images["phash"][row])
        long = oriented_long_hashes(_long_hashes(images.iloc[[test]]), 2)[0, orientation]
        bits = np.bitwise_count(long ^ _long_hashes(images.iloc[[row]])[0]).sum()
        removal = _Removal(int(node[test]), (short.bit_count(), int(bits)), orientation, True, each["match"])
        found.setdefault(int(node[row]), removal)
    return found


def _oriented_phash(images: pd.DataFrame, row: int, orientation: int) -> int:
    return int(images["phash_orientations"][row][orientation - 1] if orientation else images["phash"][row])


def _long_hashes(images: pd.DataFrame) -> np.ndarray:
    return np.frombuffer(b"".join(images["phash_256"]), np.uint8).reshape(-1, 32)


def _removals(
    pairs: DuplicatePairs, source: np.ndarray, keep_clean: bool, altered: dict[int, _Removal]
) -> dict[int, _Removal]:
    """Return the nodes that are removed, or only reported. altered: leaks that are no near hashes of a test image."""
    # Node → (distance of 256 bits, distance of 64 bits, other node, orientation).
    neighbors: dict[int, list[tuple[int, int, int, int]]] = defaultdict(list)
    columns = (pairs.a, pairs.b, pairs.distance, pairs.distance_256, pairs.orientation)
    for a, b, short, long, orientation in zip(*(column.tolist() for column in columns), strict=True):
        neighbors[a].append((long, short, b, orientation))
        neighbors[b].append((long, short, a, orientation))
    removals: dict[int, _Removal] = {}
    kept_leaks: dict[int, _Removal] = {}
    for node, leak in altered.items():
        (kept_leaks if keep_clean and source[node] == CLEAN else removals)[node] = leak
    for node, near in neighbors.items():
        tests = [neighbor for neighbor in near if source[neighbor[2]] == TEST]
        if tests and source[node] != TEST:
            long, short, keeper, orientation = min(tests)
            leak = _Removal(keeper, (short, long), orientation, is_leak=True)
            (kept_leaks if keep_clean and source[node] == CLEAN else removals)[node] = leak
    for keeper in sorted(neighbors):
        if keeper in removals:
            continue
        for long, short, other, orientation in neighbors[keeper]:
            same_side = (source[keeper] == TEST) == (source[other] == TEST)
            if other > keeper and other not in removals and same_side:
                removals[other] = _Removal(keeper, (short, long), orientation)
    return kept_leaks | removals
