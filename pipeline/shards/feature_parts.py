"""Read the features of images in the parts in which the split stage reads the other tables, one shard at a time."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from common.errors import DataError
from pipeline import files
from pipeline.embed.bucket import feature_matrix
from pipeline.embed.features import is_feature_table
from pipeline.shards import directory
from schemas.feature import FEATURE


class FeatureParts:
    """The shards of a table of features by part, of `parts`, a power of two. Raises DataError if it is not committed."""

    def __init__(self, folder: str, parts: int) -> None:
        self.folder = folder
        self._shards = directory.by_bucket(directory.read_manifest(folder).shards, parts)

    def read(self, index: int) -> Iterator[tuple[pa.Array, np.ndarray]]:
        """Yield the ids of the images of a shard, and their features, float16 (n, d). Raises DataError like `read_shards`."""
        for shard in self._shards.get(index, []):
            table = directory.read_shard(self.folder, shard, FEATURE.schema.names, check_digests=True)
            if not is_feature_table(table):
                raise DataError(
                    f"{files.join(self.folder, shard.file)}: not a shard of a feature table; run the embed stage again "
                    "with --force"
                )
            yield table["image_id"].combine_chunks(), feature_matrix(table)
