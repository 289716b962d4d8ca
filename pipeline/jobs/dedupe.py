"""The dedupe job: fingerprints of all images → the duplicates among them, and the leaks to the test set."""

from collections import Counter
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from pipeline.config import BuildConfig, DedupeConfig
from pipeline.dedupe.bit_masks import bit_masks
from pipeline.dedupe.groups import find_duplicates
from pipeline.dedupe.neighbors import HashPairs
from pipeline.jobs.near_hashes import SearchDistributed, SearchInMemory, hash_columns, hashes_of
from pipeline.jobs.tables import Commit, CommitTables, Written, pack, unpack
from pipeline.layout import Layout
from pipeline.running.run import JobSpec, run_job
from pipeline.running.stage import Stage, StageResult, manifest_digest
from pipeline.shards import commit, directory
from pipeline.shards.parquet import write_shard
from schemas.duplicate import DUPLICATE, ORIENTATIONS
from schemas.image import IMAGES
from schemas.manifest import Shard

INVOLVED = [
    "image_id", "source", "width", "height", "bytes_in", "sha256", "phash_256", "contrast", "sharpness", "thumbnail",
]  # fmt: skip


def stage_of(config: BuildConfig, output: str) -> Stage:
    """Return the stage as its inputs and its configuration make it now. Raises DataError without ingest's tables."""
    return Stage("dedupe", {"images": manifest_digest(Layout(output).images)}, config)


def run(config: BuildConfig, output: str, beam_arguments: list[str], force: bool = False) -> StageResult:
    """Run the stage unless it is up to date."""
    layout = Layout(output)
    images, place = layout.images, layout.duplicates
    stage = stage_of(config, output)
    up_to_date = not force and stage.is_done(place)
    if not up_to_date:
        commit.prepare(place)
        rows = directory.read_manifest(images).rows
        job = FindDuplicates(images, rows, config.dedupe, place, stage.about)
        hashes = rows * (len(ORIENTATIONS) if config.dedupe.orientations else 1)
        seconds = 4e-6 * hashes + 2e-12 * hashes * hashes  # of a core: sorting, and comparing
        work = JobSpec("dedupe", output, "masks", len(bit_masks(config.dedupe.radius)), seconds)
        run_job(lambda pipeline: pipeline | "Dedupe" >> job, beam_arguments, work)
    return StageResult({"duplicates": directory.read_manifest(place)}, up_to_date)


class FindDuplicates(beam.PTransform):
    """The whole stage as one transform, from a pipeline to the committed duplicate table."""

    def __init__(
        self, images: str, rows: int, config: DedupeConfig, place: str, about: dict[str, Any]
    ) -> None:
        super().__init__()
        self.images, self.rows, self.config, self.place, self.about = images, rows, config, place, about

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """All hashes → those that are near → groups, keepers, leaks."""
        if self.rows > self.config.distribute_above:
            search: beam.PTransform = SearchDistributed(
                self.images, self.rows, self.config.radius, self.config.orientations
            )
        else:
            search = SearchInMemory(self.images, self.config.radius, self.config.orientations)
        near = (
            pipeline
            | "Search" >> search
            | "GatherNear" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
            | "JoinNear" >> beam.Map(HashPairs.join)
        )
        involved = (
            pipeline
            | "ImageShards" >> beam.Create(directory.read_manifest(self.images).shards)
            | "SpreadShards" >> beam.Reshuffle()
            | "ReadInvolved"
            >> beam.Map(read_involved, self.images, self.config.orientations, beam.pvalue.AsSingleton(near))
            | "GatherInvolved" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
        )
        written = involved | "Group" >> beam.Map(
            write_duplicates, self.rows, self.config, self.place, beam.pvalue.AsSingleton(near)
        )
        return written | CommitTables(Commit({DUPLICATE.name: (self.place, DUPLICATE.name)}, self.about))


def read_involved(shard: Shard, folder: str, orientations: bool, near: HashPairs) -> tuple[str, bytes]:
    """Check the digest of a shard of images and read those whose hash is in `near`: all others have no duplicate."""
    columns = [*INVOLVED, *hash_columns(orientations)]
    images = directory.read_shard(folder, shard, columns, check_digests=True)
    wanted = np.unique(np.concatenate([near.u, near.v]))
    return shard.file, pack(images.filter(pa.array(np.isin(hashes_of(images), wanted).any(axis=1))))


def write_duplicates(
    involved: list[tuple[str, bytes]], rows: int, config: DedupeConfig, place: str, near: HashPairs
) -> tuple[str, Written]:
    """Group what is near and write the table; the counts are the proof of what was compared."""
    columns = [*INVOLVED, *hash_columns(config.orientations)]
    empty = IMAGES.schema.empty_table().select(columns)
    images = pa.concat_tables([empty, *(unpack(part) for _, part in sorted(involved))]).to_pandas()
    table, pairs = find_duplicates(images, near, config)
    counts = Counter(
        image_pairs=rows * (rows - 1) // 2,
        comparisons=near.comparisons,
        **pairs,
        removed=pa.compute.sum(table["removed"]).as_py() or 0,
    )
    for reason, source in zip(table["reason"].to_pylist(), table["source"].to_pylist(), strict=True):
        counts[f"{reason}_{source}"] += 1
    shard = write_shard(place, directory.shard_stem("part", 0, 1), DUPLICATE.schema, [table])
    return DUPLICATE.name, Written(shard, counts)
