"""Find altered copies of test images: a task compares one shard of images with all test images."""

from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import pyarrow as pa

from common.errors import DataError
from pipeline import files
from pipeline.config import DedupeConfig
from pipeline.dedupe.altered_copies import MATCHED, TestImages, find_copies, read_tests
from pipeline.dedupe.feature_neighbors import rounded_vectors
from pipeline.embed.bucket import feature_matrix
from pipeline.ingest.thumbnail import THUMBNAIL_BYTES
from pipeline.jobs.gather import GatherAll
from pipeline.jobs.tables import pack, unpack
from pipeline.running import metrics
from pipeline.shards import directory
from schemas.feature import FEATURES
from schemas.manifest import Shard

TEST = "test"
_COLUMNS = ["image_id", "source", "image", "thumbnail"]


@dataclass(frozen=True)
class Pair:
    """A shard of images and the shard of their features."""

    images: Shard
    features: Shard


def shard_pairs(images: str, features: str) -> list[Pair]:
    """Return the shards of both tables. Raises DataError if the features are not those of the images."""
    tables = [directory.read_manifest(folder).shards for folder in (images, features)]
    positions = [[directory.shard_position(shard.file) for shard in shards] for shards in tables]
    if positions[0] != positions[1]:
        raise DataError(_stale(features))
    return [Pair(*pair) for pair in zip(*tables, strict=True)]


def _stale(features: str) -> str:
    return f"{features}: not the features of these images; run the stages embed and dedupe, or build"


class FindAlteredCopies(beam.PTransform):
    """From a pipeline to one table of MATCHED and the number of compared pairs."""

    def __init__(self, images: str, features: str, config: DedupeConfig) -> None:
        super().__init__()
        self.images, self.features, self.config = images, features, config

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Gather the test images, then compare the training images of each shard with them."""
        shards = pipeline | "FeatureShards" >> beam.Create(shard_pairs(self.images, self.features))
        test = (
            shards
            | "ReadTest" >> beam.Map(read_test_images, self.images, self.features)
            | "JoinTest" >> GatherAll(TestImages.join)
        )
        return (
            shards
            | "MatchShard"
            >> beam.ParDo(MatchShard(self.images, self.features, self.config), beam.pvalue.AsSingleton(test))
            | "JoinMatched" >> GatherAll(join_matched)
        )


def read_test_images(pair: Pair, images: str, features: str) -> TestImages:
    """Return the test images of one shard."""
    rows, vectors = _read(pair, images, features, is_test=True)
    return read_tests(
        rows["image_id"].to_pylist(),
        rows["image"].combine_chunks().field("bytes").to_pylist(),
        _thumbnails(rows),
        vectors,
    )


class MatchShard(beam.DoFn):
    """Compare the training images of one shard with all test images; output (packed MATCHED, compared pairs)."""

    def __init__(self, images: str, features: str, config: DedupeConfig) -> None:
        self.images, self.features, self.config = images, features, config

    def process(self, pair: Pair, test: TestImages) -> Iterator[tuple[bytes, int]]:
        """Read the shard once; decode the images of candidate pairs only."""
        rows, vectors = _read(pair, self.images, self.features, is_test=False)
        encoded = rows["image"].combine_chunks().field("bytes")
        found, compared = find_copies(
            rows["image_id"].to_pylist(), encoded, _thumbnails(rows), vectors, test, self.config
        )
        metrics.count("matched_pairs", compared)
        yield pack(found), compared


def _read(pair: Pair, images: str, features: str, is_test: bool) -> tuple[pa.Table, np.ndarray]:
    """Return the test images of a shard, or the others, and their rounded vectors."""
    rows = directory.read_shard(images, pair.images, _COLUMNS, check_digests=True)
    table = directory.read_shard(features, pair.features, ["image_id", FEATURES], check_digests=True)
    if rows["image_id"] != table["image_id"]:
        raise DataError(_stale(files.join(features, pair.features.file)))
    wanted = (np.array(rows["source"].to_pylist(), object) == TEST) == is_test
    keep = pa.array(wanted)
    return rows.filter(keep).combine_chunks(), rounded_vectors(feature_matrix(table)[wanted])


def _thumbnails(rows: pa.Table) -> np.ndarray:
    data = b"".join(rows["thumbnail"].to_pylist())
    return np.frombuffer(data, np.uint8).reshape(rows.num_rows, THUMBNAIL_BYTES)


def join_matched(parts: list[tuple[bytes, int]]) -> tuple[pa.Table, int]:
    """Return the copies of all shards, sorted by image id, and the number of compared pairs."""
    table = pa.concat_tables([MATCHED.empty_table(), *(unpack(part) for part, _ in parts)])
    return table.sort_by("image_id").combine_chunks(), sum(compared for _, compared in parts)
