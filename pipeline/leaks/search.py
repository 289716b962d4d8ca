"""Find the near-duplicates of test images B among training images A."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.config import DedupeConfig
from pipeline.dedupe.feature_neighbors import nearest_tests
from pipeline.dedupe.leak_search import leak_search
from pipeline.dedupe.leaks import find_leaks
from pipeline.dedupe.local_match import SIDE, can_match, matches
from pipeline.embed.loading import network_libraries
from pipeline.embed.spec import NetworkSpec
from pipeline.ingest.fingerprint import Fingerprints, byte_rows
from pipeline.leaks.collect import CONFIG, Collection, collect
from pipeline.leaks.inputs import read_images
from pipeline.leaks.print_cache import PrintCache
from pipeline.running.stage import STAGE_VERSIONS, library_versions
from schemas.duplicate import ORIENTATIONS

PAIRS = pa.schema(
    [
        pa.field("train_id", pa.string()),
        pa.field("test_id", pa.string()),
        pa.field("distance", pa.int16()),
        pa.field("distance_256", pa.int16()),
        pa.field("orientation", pa.string()),
        pa.field("witness", pa.string()),
        pa.field("match", pa.float32()),
    ]
)
"""distance, distance_256: differing bits of the hashes, null for witness embedding. The others as in the table duplicate."""


@dataclass(frozen=True)
class LeakSearch:
    """The result: pairs is a table of PAIRS, sorted; train and test are the collections; search says what was looked for."""

    pairs: pa.Table
    train: Collection
    test: Collection
    search: str


def search_leaks(
    train: str,
    test: str,
    rules: DedupeConfig,
    cache_file: str | None = None,
    spec: NetworkSpec | None = None,
) -> LeakSearch:
    """Search the images of collection `train` for near-duplicates of those of `test` (paths, see `read_images`).

    cache_file: keeps fingerprints; it is written every ten minutes or so, and at the end, also of a failed run. spec: the
    network for the search of altered copies, None for a search by hashes alone. Memory: 3 KB for each different image, 20 KB
    with a network. Raises UsageError and DataError like `read_images`, and DataError if `cache_file` is no cache.
    """
    features = spec.key(STAGE_VERSIONS["embed"], network_libraries()) if spec else None
    cache = PrintCache(cache_file, [STAGE_VERSIONS["ingest"], library_versions(), asdict(CONFIG), features])
    collections = []
    try:
        for path in (test, train):
            collections.append(collect(read_images(path), cache, spec))
    finally:
        cache.save()  # also of an interrupted run
    tests, trainings = collections
    # Every image of one collection once; copies of the same bytes are spelled out at the end.
    digests = [sorted(set(each.digests)) for each in (tests, trainings)]
    rows = cache.rows([digest for some in digests for digest in some])
    is_test = np.arange(rows.num_rows) < len(digests[0])
    found = _by_hash(Fingerprints.from_table(rows), is_test, rules)
    if spec:
        found |= _by_features(rows, is_test, rules, found)
    pairs = _spelled_out(found, [d for some in digests for d in some], tests, trainings)
    return LeakSearch(pairs, trainings, tests, leak_search(rules, asdict(spec) if spec else None))


Found = dict[
    tuple[int, int], dict[str, Any]
]  # (row of the training image, row of the test image) → columns of PAIRS


def _by_hash(prints: Fingerprints, is_test: np.ndarray, rules: DedupeConfig) -> Found:
    pairs = find_leaks(prints, is_test, rules)
    columns = (pairs.a, pairs.b, pairs.distance, pairs.distance_256, pairs.orientation)
    return {
        (other, test): {
            "distance": short,
            "distance_256": long,
            "orientation": ORIENTATIONS[orientation],
            "witness": "hash",
            "match": None,
        }
        for test, other, short, long, orientation in zip(*(c.tolist() for c in columns), strict=True)
    }


def _by_features(rows: pa.Table, is_test: np.ndarray, rules: DedupeConfig, known: Found) -> Found:
    """Return altered copies that are not near by their hashes."""
    n = rows.num_rows
    usable = can_match(Fingerprints.from_table(rows).thumbnails) if n else np.zeros(0, bool)
    vectors = rows["vector"].combine_chunks().flatten().to_numpy().reshape(n, -1) if n else np.empty((0, 0))
    levels = byte_rows(rows["levels"]).reshape(n, SIDE, SIDE)
    test, train = np.flatnonzero(is_test & usable), np.flatnonzero(~is_test & usable)
    if not len(test) or not len(train):
        return {}
    i, j = nearest_tests(vectors[train], vectors[test], rules.neighbors, rules.min_similarity)
    pairs = [pair for pair in zip(train[i].tolist(), test[j].tolist(), strict=True) if pair not in known]
    if not pairs:
        return {}
    a, b = np.array(pairs).T
    found = matches(levels[a], levels[b], rules.orientations != "none")
    return {
        pairs[k]: {
            "distance": None,
            "distance_256": None,
            "orientation": ORIENTATIONS[int(found.is_mirrored[k])],
            "witness": "embedding",
            "match": float(found.match[k]),
        }
        for k in np.flatnonzero(found.match >= np.float32(rules.min_match)).tolist()
    }


def _spelled_out(found: Found, digests: Sequence[str], tests: Collection, trainings: Collection) -> pa.Table:
    """Return the pairs by the ids of all images with these bytes, and pairs of images with the same bytes."""
    by_digest: list[dict[str, list[str]]] = [{}, {}]
    for ids, collection in zip(by_digest, (trainings, tests), strict=True):
        for image_id, digest in zip(collection.ids, collection.digests, strict=True):
            ids.setdefault(digest, []).append(image_id)
    equal = {"distance": 0, "distance_256": 0, "orientation": "none", "witness": "hash", "match": None}
    named = {(digest, digest): equal for digest in by_digest[0].keys() & by_digest[1].keys()}
    named |= {
        (digests[a], digests[b]): columns for (a, b), columns in found.items() if digests[a] != digests[b]
    }
    table = [
        {"train_id": train_id, "test_id": test_id, **columns}
        for (a, b), columns in named.items()
        for train_id in by_digest[0][a]
        for test_id in by_digest[1][b]
    ]
    return pa.Table.from_pylist(table, PAIRS).sort_by([("train_id", "ascending"), ("test_id", "ascending")])
