"""The cost of Beam: ingest as a plain loop over a process pool, with the local runner, and on Prism if it is installed.

    python -m benchmarks.engines                                  # 1,000, 10,000 and 100,000 images; about 35 minutes
    python -m benchmarks.engines --sizes 1000 5000 --repeats 2    # two minutes

All variants call the same functions for each bucket and use one process per core; time and CPU include startup and all
processes. The plain loop is the obvious program without Beam: it divides the list into buckets for a ProcessPoolExecutor.
Its shards must equal those of the job byte for byte. Memory is the peak sum of the resident sets of all processes. The
images are JPEG files of 300 × 225 pixels, which are drawn first.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
import yaml
from PIL import Image

from benchmarks.ingest import measure
from benchmarks.rows import processor, record
from pipeline.config import BuildConfig, load_config
from pipeline.ingest.bucket_images import BucketContext, ingest_images
from pipeline.ingest.decode_pool import DecodePool
from pipeline.ingest.process_image import ImageRequest, ImageResult, read_and_process
from pipeline.ingest.rows import IMAGES_PER_SHARD, SMALLEST_BUCKETS, check_rows, distinct_images, resolve_rows
from pipeline.ingest.source_folder import SourceFolder
from pipeline.keyed_hash import bucket_count, by_bucket
from pipeline.records import read_records
from pipeline.shards import directory
from pipeline.shards.commit import publish
from pipeline.shards.parquet import write_shard
from schemas.image import IMAGES
from schemas.retrieval import RETRIEVAL, RETRIEVAL_LIST

CORES = os.cpu_count() or 1
DIFFERENT = 500  # distinct image files; larger lists repeat them under other ids


def draw(folder: Path, most: int) -> None:
    """Draw the images, and write a list for each size."""
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    for i in range(DIFFERENT):
        blobs = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8).astype(np.uint8))
        grain = rng.integers(-12, 13, (225, 300, 3))
        pixels = np.asarray(blobs.resize((300, 225), Image.Resampling.BICUBIC)) + grain
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"images/{i}.jpg", quality=85)
    lines = [f"i{i},a,images/{i % DIFFERENT}.jpg\n" for i in range(most)]
    (folder / "all.txt").write_text("".join(lines))


def configure(folder: Path, count: int) -> Path:
    with (folder / "all.txt").open() as lines, (folder / "list.csv").open("w") as out:
        out.write("image_id,class_name,path\n")
        out.writelines(line for line, _ in zip(lines, range(count), strict=False))
    config = {"source": str(folder), "classes": ["a", "b"], "clean": ["list.csv"], "test": [], "web": []}
    path = folder / "build.yaml"
    path.write_text(yaml.safe_dump({**config, "votes": [], "ingest": {"size": 84}}))
    return path


class InThisProcess:
    """Replacement of the decode pool that decodes in the calling process, without protection against crashes."""

    def __init__(self, config: BuildConfig) -> None:
        self.config, self.source = config.ingest, SourceFolder(config.source, config.ingest.max_bytes)

    def process_all(self, requests: Iterable[tuple[int, ImageRequest]]) -> Iterator[tuple[int, ImageResult]]:
        """Process images one after the other."""
        for key, request in requests:
            yield key, read_and_process(request, self.source, self.config)


def work_on(bucket: tuple[int, list[pa.Table]], config: BuildConfig, output: str, buckets: int) -> int:
    """Process one bucket from rows to shards, and return the number of images."""
    index, parts = bucket
    stem = directory.shard_stem("part", index, buckets)
    rows, _ = resolve_rows(pa.concat_tables([RETRIEVAL.schema.empty_table(), *parts]))
    pool = cast(DecodePool, InThisProcess(config))
    tables = ingest_images(
        distinct_images(rows), BucketContext(pool, config.ingest, config.source, output), {}
    )
    shard = write_shard(f"{output}/images", stem, IMAGES.schema, tables)
    retrievals = write_shard(f"{output}/retrievals", stem, RETRIEVAL.schema, [rows])
    for folder, staged in (("images", shard), ("retrievals", retrievals)):
        if staged:
            publish(f"{output}/{folder}", "any", [staged], {})
    return shard.shard.rows if shard else 0


def plain_loop(config_file: str, output: str) -> None:
    config = load_config(config_file, [])
    gathered: dict[int, list[pa.Table]] = {}
    path = f"{config.source}/{config.clean[0]}"
    with open(path, "rb") as file:
        buckets = bucket_count(sum(1 for _ in file), IMAGES_PER_SHARD, SMALLEST_BUCKETS)
    for records in read_records(path, RETRIEVAL_LIST, config.clean[0]):
        good, _ = check_rows(records.rows, config.classes, "clean")
        for index, rows in by_bucket(good, buckets):
            gathered.setdefault(index, []).append(rows)
    with ProcessPoolExecutor(CORES) as pool:
        job = partial(work_on, config=config, output=output, buckets=buckets)
        print(sum(pool.map(job, sorted(gathered.items()))))


def images(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "images").glob("*.parquet")}


def ways(
    config: str, loop: Path, job: Path, other: str | None
) -> dict[str, tuple[list[str], dict[str, object]]]:
    """Return the commands to measure by name, each with its working directory and environment."""
    python = [sys.executable, "-m"]
    ingest = [*python, "pipeline", "ingest", "--config", config, "--output", str(job)]
    here: dict[str, object] = {}
    result = {
        "plain loop": ([*python, "benchmarks.engines", "--loop", config, str(loop)], here),
        "local runner": ([*ingest, f"--direct_num_workers={CORES}"], here),
    }
    if other:
        there: dict[str, object] = {"cwd": other, "env": {**os.environ, "PYTHONPATH": other}}
        result["local runner, other checkout"] = ([*ingest, f"--direct_num_workers={CORES}"], there)
    if shutil.which("prism"):
        result["Prism"] = ([*ingest, "--runner=PrismRunner"], here)
    return result


def main() -> None:
    """Compare ingest in a plain loop with Beam's local runner and Prism."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument(
        "--repeats", type=int, default=1, help="runs per variant, interleaved; the fastest counts"
    )
    parser.add_argument(
        "--other", metavar="CHECKOUT", help="also measure the local runner of another version"
    )
    parser.add_argument("--loop", nargs=2, metavar=("CONFIG", "OUTPUT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.loop:
        plain_loop(*arguments.loop)
        return
    with tempfile.TemporaryDirectory(prefix="engines-") as name:
        folder = Path(name)
        draw(folder, max(arguments.sizes))
        print(f"{processor()}, {CORES} cores, best of {arguments.repeats}")
        print(
            "| images | as | s | images/s | CPU ms an image | of the loop's seconds | of its CPU | peak MB |"
        )
        print("|---:|---|---:|---:|---:|---:|---:|---:|")
        for count in arguments.sizes:
            loop, job = folder / "loop", folder / "job"
            runs: dict[str, list[dict[str, float]]] = {}
            for _ in range(arguments.repeats):
                for way, (command, where) in ways(
                    str(configure(folder, count)), loop, job, arguments.other
                ).items():
                    shutil.rmtree(loop if way == "plain loop" else job, ignore_errors=True)
                    runs.setdefault(way, []).append(measure(command, **where))
                    # Shards of another version may differ.
                    ours = way not in ("plain loop", "local runner, other checkout")
                    if ours and images(job / "ingest") != images(loop):
                        sys.exit(f"{way}: the shards differ from those of the plain loop")
            best = {way: min(result, key=lambda run: run["seconds"]) for way, result in runs.items()}
            first = best["plain loop"]
            for way, result in best.items():
                print(
                    f"| {count:,} | {way} | {result['seconds']:.1f} | {count / result['seconds']:.0f} "
                    f"| {1e3 * result['cpu'] / count:.2f} | {result['seconds'] / first['seconds']:.2f} "
                    f"| {result['cpu'] / first['cpu']:.2f} | {result['peak']:.0f} |",
                    flush=True,
                )
                if way == "local runner":
                    what = f"{count:,} image files to stored images through Beam"
                    record(what, "s", result["seconds"], "plain loop", first["seconds"], more_is_better=False)


if __name__ == "__main__":
    main()
