"""Images of a build under keys that tell workers nothing: neither their ids nor their lists."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from common.errors import DataError
from pipeline.keyed_hash import keyed_hash
from pipeline.layout import Layout
from pipeline.report.images import StoredImages
from pipeline.shards import directory
from pipeline.shards.ingested_lists import read_ingested_lists
from schemas.image import IMAGES
from schemas.retrieval import RETRIEVAL

_IMAGE_ID = pa.schema([IMAGES.schema.field("image_id")])
_PAIR = pa.schema([RETRIEVAL.schema.field(name) for name in ("image_id", "class_name", "source")])


def image_keys(image_ids: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Return the keys of images, uint64 (n,); they stay the same in later builds."""
    return keyed_hash(image_ids, 0, "vote image")


class KeyIndex:
    """Positions of distinct uint64 keys."""

    def __init__(self, keys: np.ndarray) -> None:
        self._order = np.argsort(keys)
        self._sorted = keys[self._order]

    def find(self, key: int) -> int | None:
        """Return the position of a key, or None."""
        found = int(np.searchsorted(self._sorted, np.uint64(key)))
        there = found < len(self._sorted) and self._sorted[found] == np.uint64(key)
        return int(self._order[found]) if there else None

    def positions(self, keys: np.ndarray) -> np.ndarray:
        """Return the positions of many keys, int64 (n,); -1 for keys that are not there."""
        if not len(self._sorted):
            return np.full(len(keys), -1)
        found = np.searchsorted(self._sorted, keys).clip(max=len(self._sorted) - 1)
        return np.where(self._sorted[found] == keys, self._order[found], -1)


class BuildImages:
    """Encoded images of a build by key. Raises DataError if ingest has not finished."""

    def __init__(self, build: str) -> None:
        self._stored = StoredImages(build)
        self._index = KeyIndex(image_keys(directory.read_all(Layout(build).images, _IMAGE_ID)["image_id"]))

    def read(self, key: int) -> bytes | None:
        """Return an encoded image, or None if there is no such key."""
        position = self._index.find(key)
        return None if position is None else self._stored.read(position)


@dataclass(frozen=True)
class ListedPairs:
    """Pairs of image and class of a build: `web` are the questions, `clean` the well-labeled images.

    classes: names of all classes. Both tables have the columns image_id and class_name.
    """

    classes: list[str]
    web: pa.Table
    clean: pa.Table


def read_pairs(build: str) -> ListedPairs:
    """Read the pairs of a build. Raises DataError if ingest has not finished or there are no candidates."""
    folder = Layout(build).retrievals
    classes = read_ingested_lists(folder).classes
    pairs = directory.read_all(folder, _PAIR)
    of = {
        source: pairs.filter(pa.compute.equal(pairs["source"], source))
        .drop_columns("source")
        .combine_chunks()
        for source in ("web", "clean")
    }
    if not of["web"].num_rows:
        raise DataError(f"{folder}: there are no candidates, so there is nothing to ask; add a list to 'web'")
    return ListedPairs(classes, of["web"], of["clean"])
