"""The dedupe job: fingerprints of all images → near-duplicates, and leaks between training and test images."""

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
from schemas.duplicate import DUPLICATE, SEARCHED_ORIENTATIONS
from schemas.image import IMAGES
from schemas.manifest import Shard

CANDIDATE_COLUMNS = [
    "image_id", "source", "width", "height", "bytes_in", "sha256", "phash_256", "contrast", "sharpness", "thumbnail",
]  # fmt: skip


def stage_of(config: BuildConfig, output: str) -> Stage:
    """Return the stage for the present inputs and configuration. Raises DataError if ingest has not been run."""
    return Stage("dedupe", {"images": manifest_digest(Layout(output).images)}, config)


def run(config: BuildConfig, output: str, beam_arguments: list[str], force: bool = False) -> StageResult:
    """Run the stage unless it is up to date."""
    layout = Layout(output)
    images, folder = layout.images, layout.duplicates
    stage = stage_of(config, output)
    up_to_date = not force and stage.is_done(folder)
    if not up_to_date:
        commit.prepare(folder)
        rows = directory.read_manifest(images).rows
        job = FindDuplicates(images, rows, config.dedupe, folder, stage.about)
        hashes = rows * SEARCHED_ORIENTATIONS[config.dedupe.orientations]
        seconds = 4e-6 * hashes + 2e-12 * hashes * hashes  # CPU seconds for sorting and comparing
        work = JobSpec("dedupe", output, "masks", len(bit_masks(config.dedupe.radius)), seconds)
        run_job(lambda pipeline: pipeline | "Dedupe" >> job, beam_arguments, work)
    return StageResult({"duplicates": directory.read_manifest(folder)}, up_to_date)


class FindDuplicates(beam.PTransform):
    """The whole stage as one transform, from a pipeline to the committed duplicate table."""

    def __init__(
        self, images: str, rows: int, config: DedupeConfig, folder: str, about: dict[str, Any]
    ) -> None:
        super().__init__()
        self.images, self.rows, self.config, self.folder, self.about = images, rows, config, folder, about

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Search near hashes, read the images that have them, then group these and write the table."""
        radius, orientations = self.config.radius, SEARCHED_ORIENTATIONS[self.config.orientations]
        if self.rows > self.config.distribute_above:
            search: beam.PTransform = SearchDistributed(self.images, self.rows, radius, orientations)
        else:
            search = SearchInMemory(self.images, radius, orientations)
        near = (
            pipeline
            | "Search" >> search
            | "GatherNear" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
            | "JoinNear" >> beam.Map(HashPairs.join)
        )
        candidates = (
            pipeline
            | "ImageShards" >> beam.Create(directory.read_manifest(self.images).shards)
            | "SpreadShards" >> beam.Reshuffle()
            | "ReadCandidates"
            >> beam.Map(read_candidates, self.images, orientations, beam.pvalue.AsSingleton(near))
            | "GatherCandidates" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
        )
        written = candidates | "Group" >> beam.Map(
            write_duplicates, self.rows, self.config, self.folder, beam.pvalue.AsSingleton(near)
        )
        return written | CommitTables(Commit({DUPLICATE.name: (self.folder, DUPLICATE.name)}, self.about))


def read_candidates(shard: Shard, folder: str, orientations: int, near: HashPairs) -> tuple[str, bytes]:
    """Check the digest of a shard of images and read those whose hash is in `near`; the others have no duplicates."""
    columns = [*CANDIDATE_COLUMNS, *hash_columns(orientations)]
    images = directory.read_shard(folder, shard, columns, check_digests=True)
    hashes = np.unique(np.concatenate([near.u, near.v]))
    return shard.file, pack(
        images.filter(pa.array(np.isin(hashes_of(images, orientations), hashes).any(axis=1)))
    )


def write_duplicates(
    candidates: list[tuple[str, bytes]], rows: int, config: DedupeConfig, folder: str, near: HashPairs
) -> tuple[str, Written]:
    """Group near-duplicates and write the table; its counts state how many pairs were compared."""
    columns = [*CANDIDATE_COLUMNS, *hash_columns(SEARCHED_ORIENTATIONS[config.orientations])]
    empty = IMAGES.schema.empty_table().select(columns)
    images = pa.concat_tables([empty, *(unpack(part) for _, part in sorted(candidates))]).to_pandas()
    table, pairs = find_duplicates(images, near, config)
    counts = Counter(
        image_pairs=rows * (rows - 1) // 2,
        comparisons=near.comparisons,
        **pairs,
        removed=pa.compute.sum(table["removed"]).as_py() or 0,
    )
    for reason, source in zip(table["reason"].to_pylist(), table["source"].to_pylist(), strict=True):
        counts[f"{reason}_{source}"] += 1
    shard = write_shard(folder, directory.shard_stem("part", 0, 1), DUPLICATE.schema, [table])
    return DUPLICATE.name, Written(shard, counts)
