"""The dedupe job: fingerprints of all images → the duplicates among them, and the leaks to the test set."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline import files
from pipeline.config import BuildConfig, DedupeConfig
from pipeline.dedupe.groups import find_duplicates
from pipeline.dedupe.neighbours import Pairs, search
from pipeline.jobs import ingest
from pipeline.jobs.metrics import timed
from pipeline.jobs.progress import advance
from pipeline.jobs.run import Work, run_job
from pipeline.jobs.stage import Stage, manifest_digest, plain
from pipeline.jobs.tables import CommitTable, Written
from pipeline.shards import directory
from pipeline.shards.parquet import write_shard
from schemas.duplicate import DUPLICATE
from schemas.image import IMAGES
from schemas.manifest import Manifest

ROWS_PER_TASK = 4096
PAIRS_PER_SECOND = 5e8  # of a core


def folder(output: str) -> str:
    """Where the stage writes its table."""
    return files.join(output, "dedupe", "duplicates")


def run(config: BuildConfig, output: str, beam_arguments: list[str], force: bool = False) -> Manifest:
    """Run the stage unless it is up to date; return the manifest of the duplicate table."""
    images = ingest.folders(output)["images"]
    stage = Stage("dedupe", {"images": manifest_digest(images)}, plain(config.dedupe))
    place = folder(output)
    if force or not stage.is_done(place):
        directory.open_for_writing(place)
        rows = directory.read_manifest(images).rows
        job = FindDuplicates(images, rows, config.dedupe, place, stage.about)
        work = Work("dedupe", output, "images", rows, rows * rows / 2 / PAIRS_PER_SECOND)
        run_job(lambda pipeline: pipeline | "Dedupe" >> job, beam_arguments, work)
    return directory.read_manifest(place)


class FindDuplicates(beam.PTransform):
    """The whole stage as one transform, from a pipeline to the committed duplicate table."""

    def __init__(
        self, images: str, rows: int, config: DedupeConfig, place: str, about: dict[str, Any]
    ) -> None:
        super().__init__()
        self.images, self.rows, self.config, self.place, self.about = images, rows, config, place, about

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Blocks of rows → pairs of each block with all later rows → groups, keepers, leaks."""
        return (
            pipeline
            | "Blocks" >> beam.Create(list(range(0, self.rows, ROWS_PER_TASK)))
            | "SpreadBlocks" >> beam.Reshuffle()
            | "Search" >> beam.ParDo(SearchBlock(self.images, self.config))
            | "GatherPairs" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
            | "Group" >> beam.Map(write_duplicates, self.images, self.rows, self.place)
            | "Commit" >> CommitTable(self.place, DUPLICATE.name, self.about)
        )


class SearchBlock(beam.DoFn):
    """Compare one block of images with all that come after; every worker holds the hashes, 40 bytes an image."""

    def __init__(self, images: str, config: DedupeConfig) -> None:
        self.images, self.config = images, config

    def setup(self) -> None:
        """Read the hashes once a worker."""
        self.short, self.long = read_hashes(self.images)

    @timed
    def process(self, start: int) -> Iterator[tuple[Pairs, int]]:
        """Yield (pairs, candidates) of the rows from `start`."""
        config = self.config
        yield search(
            self.short, self.long, config.radius, config.confirm_radius, start, start + ROWS_PER_TASK
        )
        advance(min(ROWS_PER_TASK, len(self.short) - start))


def read_hashes(images: str) -> tuple[np.ndarray, np.ndarray]:
    """The hashes of an image table: uint64 (n,) and uint8 (n, 32), in the order of the table."""
    table = directory.read_table(images, IMAGES, ["phash", "phash_256"])
    long = b"".join(table["phash_256"].to_pylist())
    return table["phash"].to_numpy(), np.frombuffer(long, np.uint8).reshape(-1, 32)


def write_duplicates(found: Iterable[tuple[Pairs, int]], images: str, rows: int, place: str) -> Written:
    """Group all pairs and write the table; the counts are the proof of what was compared."""
    parts = list(found)
    pairs = Pairs.concatenate([pairs for pairs, _ in parts])
    columns = ["image_id", "source", "width", "height", "bytes_in", "sha256"]
    frame: pd.DataFrame = directory.read_table(images, IMAGES, columns).to_pandas()
    table = find_duplicates(frame, pairs)
    counts = Counter(
        comparisons=rows * (rows - 1) // 2,
        candidate_pairs=sum(candidates for _, candidates in parts),
        confirmed_pairs=len(pairs),
        removed=pa.compute.sum(table["removed"]).as_py() or 0,
    )
    for reason, source in zip(table["reason"].to_pylist(), table["source"].to_pylist(), strict=True):
        counts[f"{reason}_{source}"] += 1
    shard = write_shard(place, directory.shard_name("part", 0, 1), DUPLICATE.schema, [table])
    return Written(shard, counts)
