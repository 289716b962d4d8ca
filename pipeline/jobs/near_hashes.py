"""Find all pairs of near 64-bit hashes of a table: mask by mask in memory, or by a distributed join."""

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from pipeline.dedupe.bit_masks import bit_masks
from pipeline.dedupe.hash_buckets import BucketPart, bucket_of, bucket_sizes, cut_into_parts, near_in_part
from pipeline.dedupe.neighbors import HashPairs, distinct_hashes, near_pairs_on_mask
from pipeline.dedupe.orientations import oriented_hashes
from pipeline.keyed_hash import bucket_count
from pipeline.running.metrics import timed
from pipeline.running.progress import advance
from pipeline.shards import directory
from schemas.image import IMAGES
from schemas.manifest import Shard

HASHES_PER_BUCKET = 1 << 20


class SearchInMemory(beam.PTransform):
    """Search in memory: every worker process reads all hashes, 8 bytes each, and searches some of the masks."""

    def __init__(self, images: str, radius: int, orientations: int = 1) -> None:
        super().__init__()
        self.images, self.radius, self.orientations = images, radius, orientations

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Masks → PCollection[HashPairs]."""
        return (
            pipeline
            | "Masks" >> beam.Create(list(range(len(bit_masks(self.radius)))))
            | "SearchMask" >> beam.ParDo(_SearchMask(self.images, self.radius, self.orientations))
        )


class _SearchMask(beam.DoFn):
    def __init__(self, images: str, radius: int, orientations: int) -> None:
        self.images, self.radius, self.orientations = images, radius, orientations

    def setup(self) -> None:
        columns = directory.read_table(self.images, IMAGES, hash_columns(self.orientations))
        column = hashes_of(columns, self.orientations).reshape(-1)
        self.hashes, self.repeats = distinct_hashes(column)
        self.masks = bit_masks(self.radius)

    @timed
    def process(self, index: int) -> Iterator[HashPairs]:
        if index == 0:
            yield self.repeats
        yield near_pairs_on_mask(self.hashes, self.radius, self.masks, index)
        advance(1)


class SearchDistributed(beam.PTransform):
    """Search by a distributed join: a task holds the hashes of one bucket of one mask.

    Buckets divide the hashes by the bits that the mask keeps. A bucket of more than `max_hashes` hashes is cut into blocks,
    and every two of its blocks are compared.
    """

    def __init__(
        self,
        images: str,
        rows: int,
        radius: int,
        orientations: int = 1,
        max_hashes: int = HASHES_PER_BUCKET,
    ) -> None:
        super().__init__()
        self.images, self.radius, self.orientations, self.max_hashes = (
            images,
            radius,
            orientations,
            max_hashes,
        )
        self.buckets = bucket_count(2 * rows * orientations, max_hashes)

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Shards → distinct hashes → sizes of buckets → buckets, or blocks of them → PCollection[HashPairs]."""
        shards = directory.read_manifest(self.images).shards
        hashes, repeats = (
            pipeline
            | "Shards" >> beam.Create(shards)
            | "ReadHashes" >> beam.FlatMap(_read_hashes, self.images, self.orientations, self.buckets)
            | "GatherEqual" >> beam.GroupByKey()
            | "Distinct" >> beam.FlatMap(_distinct).with_outputs("repeats", main="hashes")
        )
        sizes = (
            hashes
            | "Sizes" >> beam.Map(bucket_sizes, self.radius, self.buckets)
            | "SumSizes" >> beam.CombineGlobally(_sum)
        )
        pairs = (
            hashes
            | "Cut"
            >> beam.FlatMap(cut_into_parts, self.radius, beam.pvalue.AsSingleton(sizes), self.max_hashes)
            | "GatherPart" >> beam.GroupByKey()
            | "SearchPart" >> beam.Map(_search, self.radius)
        )
        return (pairs, repeats) | "Both" >> beam.Flatten()


def hash_columns(orientations: int) -> list[str]:
    """Return the columns that `hashes_of` needs for the first `orientations` of ORIENTATIONS."""
    return ["phash", "phash_orientations"] if orientations > 1 else ["phash"]


def hashes_of(images: pa.Table, orientations: int) -> np.ndarray:
    """Return the 64-bit hashes of images in the first `orientations` of ORIENTATIONS, uint64 (n, orientations)."""
    short = images["phash"].to_numpy()
    if orientations == 1:
        return short[:, None]
    mirrored = images["phash_orientations"].combine_chunks().flatten().to_numpy()
    return oriented_hashes(short, mirrored.reshape(-1, 3), orientations)


def _read_hashes(
    shard: Shard, folder: str, orientations: int, buckets: int
) -> Iterator[tuple[int, np.ndarray]]:
    images = directory.read_shard(folder, shard, hash_columns(orientations))
    column = hashes_of(images, orientations).reshape(-1)
    bucket_of_hash = bucket_of(column, buckets)
    for bucket in np.unique(bucket_of_hash).tolist():
        yield bucket, column[bucket_of_hash == bucket]


def _distinct(element: tuple[int, Iterable[np.ndarray]]) -> Iterator[Any]:
    hashes, repeats = distinct_hashes(np.concatenate(list(element[1])))
    yield hashes
    yield beam.pvalue.TaggedOutput("repeats", repeats)


def _sum(sizes: Iterable[Any]) -> Any:
    return sum(sizes)


def _search(element: tuple[BucketPart, Iterable[np.ndarray]], radius: int) -> HashPairs:
    part, hashes = element
    return near_in_part(np.concatenate(list(hashes)), radius, part)
