"""Read what the split stage plans with, in parts of neighboring buckets: an image is in the same part in every table."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

from pipeline.keyed_hash import bucket, bucket_count, shard_key
from pipeline.noise.pools import VERDICT_COLUMNS, PoolPart, read_part
from pipeline.shards import directory
from schemas.duplicate import DUPLICATE
from schemas.image import IMAGES
from schemas.retrieval import RETRIEVAL
from schemas.table import Table
from schemas.verdict import VERDICT

ROWS_TOGETHER = 1 << 16  # rows of the retrieval table that are in memory at once, about


class SplitInputs:
    """The tables of the earlier stages: `folders` by name (images, retrievals, verdicts, duplicates).

    parts: the number of parts, a power of two. Raises DataError if a table is not committed.
    """

    def __init__(
        self,
        folders: dict[str, str],
        class_names: Sequence[str],
        min_confidence: float,
        min_votes: int,
    ) -> None:
        self.folders, self.class_names = folders, class_names
        self.min_confidence, self.min_votes = min_confidence, min_votes
        manifests = {name: directory.read_manifest(folders[name]) for name in _TABLES}
        parts = bucket_count(manifests["retrievals"].rows, ROWS_TOGETHER)
        # A table without shards fits every number of parts.
        buckets = [manifest.about["buckets"] for manifest in manifests.values() if manifest.shards]
        self.parts = min([parts, *buckets])
        self._shards = {
            name: directory.by_bucket(manifest.shards, self.parts) for name, manifest in manifests.items()
        }
        self._removed = self._read_removed()

    def part(self, index: int, columns: Sequence[str], check_digests: bool = False) -> PoolPart:
        """Return the images of a part, with `columns` of the retrieval table. Raises DataError like `read_shards`."""
        return read_part(
            self.read("retrievals", index, columns, check_digests),
            self.read("verdicts", index, VERDICT_COLUMNS, check_digests),
            self._removed.get(index, pa.array([], pa.string())),
            self.class_names,
            self.min_confidence,
            self.min_votes,
        )

    def read(self, table: str, index: int, columns: Sequence[str], check_digests: bool = False) -> pa.Table:
        """Return some columns of a part of a table. Raises DataError like `read_shards`."""
        schema = pa.schema([_TABLES[table].schema.field(name) for name in columns])
        shards = self._shards[table].get(index, [])
        return directory.read_bucket(self.folders[table], shards, schema, check_digests)

    def _read_removed(self) -> dict[int, pa.Array]:
        """The ids of the images that dedupe has removed, by part."""
        duplicates = directory.read_table(
            self.folders["duplicates"], DUPLICATE, ["image_id", "removed"], check_digests=True
        )
        ids = duplicates.filter(pc.field("removed"))["image_id"].combine_chunks()
        parts = bucket(shard_key(ids), self.parts)
        order = np.argsort(parts, kind="stable")
        found, starts = np.unique(parts[order], return_index=True)
        pieces = np.split(order, starts[1:])
        return {int(index): ids.take(pa.array(rows)) for index, rows in zip(found, pieces, strict=False)}


_TABLES: dict[str, Table] = {"images": IMAGES, "retrievals": RETRIEVAL, "verdicts": VERDICT}
