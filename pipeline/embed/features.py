"""Read the table of features."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from common.errors import DataError
from pipeline import files
from pipeline.embed.bucket import feature_matrix
from pipeline.shards import directory
from schemas.feature import FEATURE, FEATURES
from schemas.manifest import Shard


@dataclass(frozen=True)
class Features:
    """Features of n images, in the order of the table `image` (that of the shard keys).

    image_ids: text (n,). image_sha256: digests of the encoded images, text (n,). vectors: float16 [n, C].
    """

    image_ids: pa.ChunkedArray
    image_sha256: pa.ChunkedArray
    vectors: np.ndarray


def read_feature_shards(folder: str, check_digests: bool = False) -> Iterator[pa.Table]:
    """Yield the shards of a feature table. Raises DataError if there is no such table or it is damaged."""
    for shard in directory.read_manifest(folder).shards:
        yield read_feature_shard(folder, shard, check_digests)


def read_feature_shard(folder: str, shard: Shard, check_digests: bool = False) -> pa.Table:
    """Read one shard of a feature table. Raises DataError if it is damaged or of another table."""
    table = directory.read_shard(folder, shard, FEATURE.schema.names, check_digests)
    if not is_feature_table(table):
        raise DataError(
            f"{files.join(folder, shard.file)}: not a shard of a feature table; run the embed stage again with --force"
        )
    return table


def read_features(folder: str, check_digests: bool = False) -> Features:
    """Read a whole feature table: 2·C bytes per image. Raises DataError like `read_feature_shards`."""
    shards = list(read_feature_shards(folder, check_digests))
    if not shards:
        none = pa.chunked_array([], pa.string())
        return Features(none, none, np.zeros((0, 0), np.float16))
    if len({shard.schema.field(FEATURES).type for shard in shards}) > 1:
        raise DataError(
            f"{folder}: shards have features of different sizes; run the embed stage again with --force"
        )
    table = pa.concat_tables(shards)
    vectors = np.concatenate([feature_matrix(shard) for shard in shards])
    return Features(table["image_id"], table["image_sha256"], vectors)


def is_feature_table(table: pa.Table) -> bool:
    """Whether a table has the columns of a feature table."""
    if table.schema.names != FEATURE.schema.names:
        return False
    types = [table.schema.field(name).type for name in ("image_id", "image_sha256")]
    vectors = table.schema.field(FEATURES).type
    return (
        types == [pa.string()] * 2
        and pa.types.is_fixed_size_list(vectors)
        and vectors.value_type == pa.float16()
    )
