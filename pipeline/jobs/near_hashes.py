"""Near pairs of all 64-bit hashes of a table, on a runner: each mask apart in memory, or joined beyond it."""

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from pipeline.dedupe.buckets import Share, bucket_of, bucket_sizes, cut, near_in_share
from pipeline.dedupe.coverings import bit_masks
from pipeline.dedupe.neighbors import Near, distinct, near_at
from pipeline.dedupe.turns import turned_short
from pipeline.keyed_hash import bucket_count
from pipeline.running.metrics import timed
from pipeline.running.progress import advance
from pipeline.shards import directory
from schemas.duplicate import TURNS
from schemas.image import IMAGES
from schemas.manifest import Shard

HASHES_PER_BUCKET = 1 << 20


class SearchInMemory(beam.PTransform):
    """Every worker reads all hashes, 8 bytes each, and searches some of the masks."""

    def __init__(self, images: str, radius: int, turns: bool = False) -> None:
        super().__init__()
        self.images, self.radius, self.turns = images, radius, turns

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Masks → PCollection[Near]."""
        return (
            pipeline
            | "Masks" >> beam.Create(list(range(len(bit_masks(self.radius)))))
            | "SpreadMasks" >> beam.Reshuffle()
            | "SearchMask" >> beam.ParDo(_SearchMask(self.images, self.radius, self.turns))
        )


class _SearchMask(beam.DoFn):
    def __init__(self, images: str, radius: int, turns: bool) -> None:
        self.images, self.radius, self.turns = images, radius, turns

    def setup(self) -> None:
        columns = directory.read_table(self.images, IMAGES, hash_columns(self.turns))
        column = hashes_of(columns).reshape(-1)
        self.hashes, self.repeats = distinct(column)
        self.masks = bit_masks(self.radius)

    @timed
    def process(self, index: int) -> Iterator[Near]:
        if index == 0:
            yield self.repeats
        yield near_at(self.hashes, self.radius, self.masks, index)
        advance(1)


class SearchByJoin(beam.PTransform):
    """The same by a join: a worker holds the hashes of one bucket of one mask at a time.

    Buckets are shares of the hashes by the bits that the mask keeps. What few hashes share may come together in one:
    a bucket of more than `most` hashes is cut into blocks, of which every two are compared.
    """

    def __init__(
        self, images: str, rows: int, radius: int, turns: bool = False, most: int = HASHES_PER_BUCKET
    ) -> None:
        super().__init__()
        self.images, self.radius, self.turns, self.most = images, radius, turns, most
        self.buckets = bucket_count(2 * rows * (len(TURNS) if turns else 1), most)

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Shards → distinct hashes → sizes of buckets → buckets, or blocks of them → PCollection[Near]."""
        shards = directory.read_manifest(self.images).shards
        hashes, repeats = (
            pipeline
            | "Shards" >> beam.Create(shards)
            | "SpreadShards" >> beam.Reshuffle()
            | "ReadHashes" >> beam.FlatMap(_read_hashes, self.images, self.turns, self.buckets)
            | "GatherEqual" >> beam.GroupByKey()
            | "Distinct" >> beam.FlatMap(_distinct).with_outputs("repeats", main="hashes")
        )
        sizes = (
            hashes
            | "Sizes" >> beam.Map(bucket_sizes, self.radius, self.buckets)
            | "SumSizes" >> beam.CombineGlobally(_sum)
        )
        found = (
            hashes
            | "Cut" >> beam.FlatMap(cut, self.radius, beam.pvalue.AsSingleton(sizes), self.most)
            | "GatherShare" >> beam.GroupByKey()
            | "SearchShare" >> beam.Map(_search, self.radius)
        )
        return (found, repeats) | "Both" >> beam.Flatten()


def hash_columns(turns: bool) -> list[str]:
    """The columns that `hashes_of` needs."""
    return ["phash", "phash_orientations"] if turns else ["phash"]


def hashes_of(images: pa.Table) -> np.ndarray:
    """The 64-bit hashes of images, uint64 (n, 1), or in all turns (n, 7) if these are among the columns."""
    short = images["phash"].to_numpy()
    if "phash_orientations" not in images.column_names:
        return short[:, None]
    turned = images["phash_orientations"].combine_chunks().flatten().to_numpy()
    return turned_short(short, turned.reshape(-1, 3))


def _read_hashes(shard: Shard, folder: str, turns: bool, buckets: int) -> Iterator[tuple[int, np.ndarray]]:
    column = hashes_of(directory.read_shard(folder, shard, hash_columns(turns))).reshape(-1)
    own = bucket_of(column, buckets)
    for bucket in np.unique(own).tolist():
        yield bucket, column[own == bucket]


def _distinct(element: tuple[int, Iterable[np.ndarray]]) -> Iterator[Any]:
    hashes, repeats = distinct(np.concatenate(list(element[1])))
    yield hashes
    yield beam.pvalue.TaggedOutput("repeats", repeats)


def _sum(sizes: Iterable[Any]) -> Any:
    return sum(sizes)


def _search(element: tuple[Share, Iterable[np.ndarray]], radius: int) -> Near:
    share, parts = element
    return near_in_share(np.concatenate(list(parts)), radius, share)
