"""The dedupe job: fingerprints of all images → near-duplicates, and leaks between training and test images."""

from collections import Counter
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

from pipeline.config import BuildConfig, DedupeConfig
from pipeline.dedupe.bit_masks import bit_masks
from pipeline.dedupe.groups import find_duplicates
from pipeline.dedupe.neighbors import HashPairs
from pipeline.jobs.altered_copies import FindAlteredCopies, join_matched
from pipeline.jobs.gather import GatherAll
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

Copies = tuple[pa.Table, int]  # of `join_matched`
CANDIDATE_COLUMNS = [
    "image_id", "source", "width", "height", "bytes_in", "sha256", "phash_256", "contrast", "sharpness", "thumbnail",
]  # fmt: skip


def stage_of(config: BuildConfig, output: str) -> Stage:
    """Return the stage for the present inputs and configuration. Raises DataError if an earlier stage has not been run."""
    layout = Layout(output)
    inputs = {"images": layout.images} | ({"features": layout.features} if uses_features(config) else {})
    return Stage("dedupe", {name: manifest_digest(folder) for name, folder in inputs.items()}, config)


def uses_features(config: BuildConfig) -> bool:
    """Whether altered copies of test images are searched by features."""
    return bool(config.embed.weights and config.dedupe.neighbors)


def run(config: BuildConfig, output: str, beam_arguments: list[str], force: bool = False) -> StageResult:
    """Run the stage unless it is up to date."""
    layout = Layout(output)
    images, folder = layout.images, layout.duplicates
    stage = stage_of(config, output)
    up_to_date = not force and stage.is_done(folder)
    if not up_to_date:
        features = layout.features if uses_features(config) else ""
        about = stage.about
        if features:
            about["features"] = features_used(features, about["inputs"]["images"])
        commit.prepare(folder)
        rows = directory.read_manifest(images).rows
        job = FindDuplicates(images, features, rows, config.dedupe, folder, about)
        hashes = rows * SEARCHED_ORIENTATIONS[config.dedupe.orientations]
        seconds = 4e-6 * hashes + 2e-12 * hashes * hashes  # CPU seconds for sorting and comparing
        work = JobSpec("dedupe", output, "masks", len(bit_masks(config.dedupe.radius)), seconds)
        run_job(lambda pipeline: pipeline | "Dedupe" >> job, beam_arguments, work)
    return StageResult({"duplicates": directory.read_manifest(folder)}, up_to_date)


class FindDuplicates(beam.PTransform):
    """The whole stage as one transform, from a pipeline to the committed duplicate table.

    features: folder of the features by which altered copies are searched, empty for no such search.
    """

    def __init__(
        self,
        images: str,
        features: str,
        rows: int,
        config: DedupeConfig,
        folder: str,
        about: dict[str, Any],
    ) -> None:
        super().__init__()
        self.images, self.features, self.rows, self.config = images, features, rows, config
        self.folder, self.about = folder, about

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Search near hashes, read the images that have them, then group these and write the table."""
        radius, orientations = self.config.radius, SEARCHED_ORIENTATIONS[self.config.orientations]
        if self.rows > self.config.distribute_above:
            search: beam.PTransform = SearchDistributed(self.images, self.rows, radius, orientations)
        else:
            search = SearchInMemory(self.images, radius, orientations)
        near = beam.pvalue.AsSingleton(
            pipeline | "Search" >> search | "JoinNear" >> GatherAll(HashPairs.join)
        )
        if self.features:
            search_copies = FindAlteredCopies(self.images, self.features, self.config)
            copies: beam.PCollection = pipeline | "AlteredCopies" >> search_copies
        else:
            copies = pipeline | "NoAlteredCopies" >> beam.Create([join_matched([])])
        altered = beam.pvalue.AsSingleton(copies)
        candidates = (
            pipeline
            | "ImageShards" >> beam.Create(directory.read_manifest(self.images).shards)
            | "ReadCandidates" >> beam.Map(read_candidates, self.images, orientations, near, altered)
        )
        written = candidates | "Group" >> GatherAll(
            write_duplicates, self.rows, self.config, self.folder, near, altered
        )
        return written | CommitTables(Commit({DUPLICATE.name: (self.folder, DUPLICATE.name)}, self.about))


def features_used(folder: str, images_digest: str) -> dict[str, Any]:
    """Return what a feature table was made by, for the manifest. Raises DataError if it is not that of these images."""
    directory.check_current(folder, images_digest, "embed")
    about = directory.read_manifest(folder).about
    inputs, config = about["inputs"], about.get("config", {}).get("embed", {})
    return {"network": config.get("network"), "weights_sha256": inputs.get("weights")}


def read_candidates(
    shard: Shard, folder: str, orientations: int, near: HashPairs, copies: Copies
) -> tuple[str, bytes]:
    """Check the digest of a shard of images and read those whose hash is in `near`, and those in `copies`.

    The others have no duplicates.
    """
    columns = [*CANDIDATE_COLUMNS, *hash_columns(orientations)]
    images = directory.read_shard(folder, shard, columns, check_digests=True)
    hashes = np.unique(np.concatenate([near.u, near.v]))
    is_near = pa.array(np.isin(hashes_of(images, orientations), hashes).any(axis=1))
    ids = pa.chunked_array([*copies[0]["image_id"].chunks, *copies[0]["test_id"].chunks], pa.string())
    return shard.file, pack(images.filter(pc.or_(is_near, pc.is_in(images["image_id"], ids))))


def write_duplicates(
    candidates: list[tuple[str, bytes]],
    rows: int,
    config: DedupeConfig,
    folder: str,
    near: HashPairs,
    copies: Copies,
) -> tuple[str, Written]:
    """Group near-duplicates and write the table; its counts state how many pairs were compared."""
    columns = [*CANDIDATE_COLUMNS, *hash_columns(SEARCHED_ORIENTATIONS[config.orientations])]
    empty = IMAGES.schema.empty_table().select(columns)
    images = pa.concat_tables([empty, *(unpack(part) for _, part in sorted(candidates))]).to_pandas()
    table, pairs = find_duplicates(images, near, config, copies[0])
    counts = Counter(
        image_pairs=rows * (rows - 1) // 2,
        comparisons=near.comparisons,
        **pairs,
        matched_pairs=copies[1],
        embedding=pc.sum(pc.equal(table["witness"], "embedding")).as_py() or 0,
        removed=pc.sum(table["removed"]).as_py() or 0,
    )
    for reason, source in zip(table["reason"].to_pylist(), table["source"].to_pylist(), strict=True):
        counts[f"{reason}_{source}"] += 1
    shard = write_shard(folder, directory.shard_stem("part", 0, 1), DUPLICATE.schema, [table])
    return DUPLICATE.name, Written(shard, counts)
