"""Read the features of images in the parts in which the split stage reads the other tables, one shard at a time."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from pipeline.embed.bucket import feature_matrix
from pipeline.embed.features import read_feature_shard
from pipeline.shards import directory


class FeatureParts:
    """The shards of a table of features by part, of `parts`, a power of two. Raises DataError if it is not committed."""

    def __init__(self, folder: str, parts: int) -> None:
        self.folder = folder
        self._shards = directory.by_bucket(directory.read_manifest(folder).shards, parts)

    def read(self, index: int) -> Iterator[tuple[pa.Array, np.ndarray]]:
        """Yield the ids of the images of a shard, and their features, float16 (n, d). Raises DataError like `read_feature_shard`."""
        for shard in self._shards.get(index, []):
            table = read_feature_shard(self.folder, shard, check_digests=True)
            yield table["image_id"].combine_chunks(), feature_matrix(table)
