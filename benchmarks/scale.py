"""Cost of a stage per row, and its growth: metadata of 10⁴ to 10⁷ rows, without images to decode.

    python -m benchmarks.scale --sizes 10000 100000 1000000          about 10 minutes
    python -m benchmarks.scale --sizes 1000000 10000000              several hours; 60 GB of disk

Each stage runs as a separate command on synthetic tables: ingest reads a list whose files are missing, so that every row
passes all steps and is rejected; aggregate has four votes per question; dedupe has random fingerprints; split has images
of one byte; split-plan is the part of split that runs on the submitting machine; verify reads red and blue sets at ten levels with random images of 32×32 pixels, as one process
(verify) and as a job (verify-job). For each size it prints the CPU time and the bytes shuffled per row, and the peak memory of the
submitting process, which also runs the tasks on one machine. CPU time and memory are less those for 4,000 rows. The
exponent is that of the CPU time between the first and the last size: 1 is linear.
"""

import argparse
import io
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import yaml
from PIL import Image

from benchmarks.aggregate_stage import image_ids, write_input
from benchmarks.rows import processor
from common.config import output_values
from pipeline.config import DedupeConfig, load_config
from pipeline.jobs.split import make_plan
from pipeline.keyed_hash import bucket, bucket_count, shard_key
from pipeline.layout import Layout
from pipeline.running.stage import manifest_digest
from pipeline.shards import commit, directory
from pipeline.shards.parquet import write_shard
from schemas.duplicate import DUPLICATE
from schemas.error_model import ERROR_MODEL
from schemas.image import IMAGES
from schemas.retrieval import RETRIEVAL
from schemas.table import Table
from schemas.verdict import VERDICT

CLASSES = [f"class-{i:02d}" for i in range(100)]
INGEST = {"size": 84, "format": "jpeg", "quality": 72, "resize": "exact", "resample": "area"}
PLAN = "split-plan"  # the part of the split stage that runs on the submitting machine
BASE_ROWS = 4_000  # their cost is that of starting a job


@dataclass(frozen=True)
class Cost:
    """CPU seconds of a command and its children, peak MB of its largest process, and shuffled bytes."""

    cpu: float
    peak: float
    shuffled: int


def measure(stage: str, folder: Path) -> Cost:
    """Run a stage and return its cost."""
    inputs = ["--config", f"{folder}/build.yaml", "--output", f"{folder}/out"]
    command = [sys.executable, "-m", "pipeline", stage, *inputs]
    if stage == PLAN:
        command = [sys.executable, "-m", "benchmarks.scale", "--plan", str(folder)]
    if stage.startswith("verify"):
        command = [sys.executable, "-m", "pipeline", "verify", f"{folder}/out/dataset"]
        command += ["--direct_num_workers=1"] if stage == "verify-job" else []
    code = (
        "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL);"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN);"
        "print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3); sys.exit(done.returncode)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command], check=True, stdout=subprocess.PIPE, text=True
    )
    cpu, peak = map(float, done.stdout.split())
    if stage == PLAN or stage.startswith("verify"):
        return Cost(cpu, peak, 0)
    metrics = json.loads(Path(Layout(str(folder / "out")).metrics(stage)).read_text())
    return Cost(cpu, peak, metrics["counters"].get("shuffled_bytes", 0))


def missing_files(folder: Path, rows: int) -> None:
    """Write a list of missing files."""
    with open(folder / "web.csv", "w") as file:
        file.write("image_id,class_name,path,method,rank\n")
        for number in range(rows):
            name = CLASSES[number % 100]
            file.write(f"image-{number:09d},{name},{name}/{number:09d}.jpg,text,{number // 100}\n")
    write_config(folder, ingest={"max_rejected_share": 1.0})


def votes(folder: Path, rows: int) -> None:
    """Write questions with four votes each."""
    write_input(folder, 4 * rows)


def fingerprints(folder: Path, rows: int) -> None:
    """Write images without near-duplicates."""
    write_tables(folder, rows, {"images"})
    write_config(folder)


def sets(folder: Path, rows: int) -> None:
    """Write tables of which half the images are clean, 45 % wrong web images and 5 % test images, for 20 sets."""
    write_tables(folder, rows, {"images", "retrievals", "verdicts", "duplicates"})
    write_config(folder, noise={"colors": ["red", "blue"]})


def dataset(folder: Path, rows: int) -> None:
    """The sets of `sets` as the split stage writes them, with images that decode."""
    write_tables(folder, rows, {"images", "retrievals", "verdicts", "duplicates"}, encoded_images)
    write_config(folder, noise={"colors": ["red", "blue"]})
    command = ["split", "--config", f"{folder}/build.yaml", "--output", f"{folder}/out"]
    subprocess.run([sys.executable, "-m", "pipeline", *command], check=True, stdout=subprocess.DEVNULL)


def write_config(folder: Path, **overrides: object) -> None:
    """Write the configuration of a build whose tables exist."""
    lists = ["web.csv"] if (folder / "web.csv").exists() else ["-"]
    config = {
        "source": str(folder),
        "classes": CLASSES,
        "clean": [],
        "test": [],
        "web": lists,
        "votes": [],
        **overrides,
    }
    (folder / "build.yaml").write_text(yaml.safe_dump(config))


def one_byte(numbers: np.ndarray) -> list[bytes]:
    """An image of one byte, which does not decode, for each number."""
    return [b"x"] * len(numbers)


def encoded_images(numbers: np.ndarray) -> list[bytes]:
    """A different JPEG image of 32×32 pixels for each number."""
    images = []
    for number in numbers.tolist():
        blocks = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(blocks).resize((32, 32)).save(buffer, "JPEG", quality=72)
        images.append(buffer.getvalue())
    return images


def write_tables(
    folder: Path, rows: int, names: set[str], images: Callable[[np.ndarray], list[bytes]] = one_byte
) -> None:
    """Write the tables of the earlier stages, bucket by bucket."""
    layout = Layout(str(folder / "out"))
    keys = np.concatenate(
        [
            shard_key(image_ids(np.arange(i, min(rows, i + 250_000))).to_pylist())
            for i in range(0, rows, 250_000)
        ]
    )
    order = np.argsort(keys)
    buckets = bucket_count(rows, 2048, 8)
    edges = np.searchsorted(bucket(keys[order], buckets), np.arange(buckets + 1))
    tables: dict[str, tuple[str, Table, Callable[[np.ndarray], pa.Table]]] = {
        "images": (layout.images, IMAGES, lambda numbers: image_rows(numbers, images(numbers))),
        "retrievals": (layout.retrievals, RETRIEVAL, retrieval_rows),
        "verdicts": (layout.verdicts, VERDICT, verdict_rows),
    }
    for name, (path, table, make) in tables.items():
        if name not in names:
            continue
        shards = []
        for index in range(buckets):
            stem = directory.shard_stem("part", index, buckets)
            shards.append(
                write_shard(path, stem, table.schema, [make(order[edges[index] : edges[index + 1]])])
            )
        about = {"buckets": buckets, "counts": {}, "config": {"ingest": INGEST}}
        if name == "verdicts":
            about["inputs"] = {"retrievals": manifest_digest(layout.retrievals)}
            commit.commit(layout.error_model, ERROR_MODEL.name, [], about)
        commit.commit(path, table.name, [shard for shard in shards if shard], about)
    if "duplicates" in names:
        about = {
            "counts": {},
            "config": {"dedupe": output_values(DedupeConfig())},
            "inputs": {"images": manifest_digest(layout.images)},
        }
        commit.commit(layout.duplicates, DUPLICATE.name, [], about)


def sources_of(numbers: np.ndarray) -> np.ndarray:
    """Return the sources of images: of twenty, one is a test image, ten are clean, and nine are from the web."""
    return np.array(["test", *["clean"] * 10, *["web"] * 9], object)[numbers % 20]


def image_rows(numbers: np.ndarray, encoded: list[bytes]) -> pa.Table:
    """Return rows of the table of images."""
    n = len(numbers)
    hashes = np.random.default_rng(numbers[:1].tolist()).integers(0, 1 << 64, n, np.uint64)
    values = {
        "image_id": image_ids(numbers),
        "image": pa.array(
            [{"bytes": data, "path": None} for data in encoded], IMAGES.schema.field("image").type
        ),
        "source": sources_of(numbers),
        "format": ["JPEG"] * n,
        "width": np.full(n, 500),
        "height": np.full(n, 375),
        "animated": np.zeros(n, bool),
        "bytes_in": np.ones(n, np.int64),
        "sha256": [f"{number:064x}" for number in numbers.tolist()],
        "phash": hashes,
        "phash_orientations": [[0, 0, 0]] * n,
        "phash_256": [int(each).to_bytes(32, "big") for each in hashes],
        "contrast": np.full(n, 50.0),
        "sharpness": np.full(n, 50.0),
        "thumbnail": [bytes(1216)] * n,
    }
    return as_table(values, IMAGES, n)


def retrieval_rows(numbers: np.ndarray) -> pa.Table:
    """Return rows of the retrieval table."""
    n = len(numbers)
    values = {
        "image_id": image_ids(numbers),
        "class_name": np.array(CLASSES, object)[numbers // 20 % 100],
        "source": sources_of(numbers),
        "location": [f"list.csv:{number}" for number in numbers.tolist()],
        "method": ["text"] * n,
        "rank": numbers,
        "path": [f"{number}.jpg" for number in numbers.tolist()],
    }
    return as_table(values, RETRIEVAL, n)


def verdict_rows(numbers: np.ndarray) -> pa.Table:
    """Return verdicts of all web images: no."""
    numbers = numbers[sources_of(numbers) == "web"]
    n = len(numbers)
    values = {
        "image_id": image_ids(numbers),
        "class_name": np.array(CLASSES, object)[numbers // 20 % 100],
        "verdict": ["no"] * n,
        "yes": np.zeros(n),
        "no": np.full(n, 3),
        "unsure": np.zeros(n),
        "confidence": np.ones(n),
        "posterior": np.zeros(n),
    }
    return as_table(values, VERDICT, n)


def as_table(values: dict[str, object], table: Table, rows: int) -> pa.Table:
    """Return a table of the given columns; all others are null."""
    columns = [
        pa.array(values[field.name]).cast(field.type)
        if field.name in values
        and field.name not in ("image", "phash_orientations", "phash_256", "thumbnail")
        else pa.array(values[field.name], field.type)
        if field.name in values
        else pa.nulls(rows, field.type)
        for field in table.schema
    ]
    return pa.table(columns, schema=table.schema)


STAGES: dict[str, Callable[[Path, int], None]] = {
    "ingest": missing_files,
    "aggregate": votes,
    "dedupe": fingerprints,
    "split": sets,
    PLAN: sets,
    "verify": dataset,
    "verify-job": dataset,
}


def run(stage: str, rows: int, scratch: str | None) -> Cost:
    """Make the input of a stage in a separate process, and measure the stage."""
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        make = [sys.executable, "-m", "benchmarks.scale", "--make", stage, name, str(rows)]
        subprocess.run(make, check=True)
        return measure(stage, Path(name))


def main() -> None:
    """Print a table of costs by stage and size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument(
        "--scratch", help="folder for the tables (default: that of temporary files); 6 kB per row"
    )
    parser.add_argument("--make", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--plan", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.plan:
        make_plan(load_config(f"{arguments.plan}/build.yaml", []), f"{arguments.plan}/out")
        return
    if arguments.make:
        stage, folder, rows = arguments.make
        STAGES[stage](Path(folder), int(rows))
        return
    print(f"{processor()}, {os.cpu_count()} cores\n")
    print(
        "| stage | rows | CPU µs a row | bytes shuffled a row | peak MB | MB above start, bytes a row | exponent |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|")
    for stage in arguments.stages:
        start = run(stage, BASE_ROWS, arguments.scratch)
        costs: list[tuple[int, float]] = []
        for rows in arguments.sizes:
            cost = run(stage, rows, arguments.scratch)
            costs.append((rows, max(cost.cpu - start.cpu, 1e-3)))
            (first, low), (last, high) = costs[0], costs[-1]
            exponent = f"{math.log(high / low) / math.log(last / first):.2f}" if last > first else ""
            memory = (cost.peak - start.peak) * 1e6 / rows
            print(
                f"| {stage} | {rows:,} | {costs[-1][1] / rows * 1e6:.1f} | {cost.shuffled / rows:.0f} | {cost.peak:.0f} "
                f"| {memory:.0f} | {exponent} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
