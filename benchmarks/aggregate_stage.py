"""Time and memory of the aggregate stage on synthetic votes.

Called by benchmarks.aggregation; `python -m benchmarks.aggregate_stage FOLDER VOTES` writes the input alone.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from pipeline.ingest.rows import IMAGES_PER_SHARD, SMALLEST_BUCKETS
from pipeline.keyed_hash import bucket, bucket_count, shard_key
from pipeline.shards import commit, directory
from pipeline.shards.parquet import write_shard
from schemas.rejection import REJECTION
from schemas.retrieval import RETRIEVAL
from schemas.vote import VOTE

PIECE = 250_000  # questions that are made up at once
CLASSES = np.array(["ant", "bee"])


def image_ids(numbers: np.ndarray) -> pa.Array:
    """Names of images by their numbers."""
    return pa.array(np.char.add("image-", np.char.zfill(numbers.astype(str), 9)))


def write_input(folder: Path, votes: int) -> None:
    """What the aggregate stage finds on disk: the table of images that ingest leaves, vote files, a configuration."""
    questions = votes // 4
    write_retrievals(str(folder / "out" / "ingest" / "retrievals"), questions)
    commit.commit(
        str(folder / "out" / "ingest" / "rejections"), REJECTION.name, [], {"buckets": SMALLEST_BUCKETS}
    )
    config = {
        "source": str(folder),
        "classes": CLASSES.tolist(),
        "clean": [],
        "test": [],
        "web": [],
        "votes": write_votes(folder, questions),
    }
    (folder / "build.yaml").write_text(json.dumps(config))  # JSON is YAML


def write_retrievals(folder: str, questions: int) -> None:
    """The table of images. Names are made where they are written: those of 25 million would fill this process."""
    pieces = range(0, questions, PIECE)
    places = np.concatenate(
        [shard_key(image_ids(np.arange(i, min(questions, i + PIECE))).to_pylist()) for i in pieces]
    )
    count = bucket_count(questions, IMAGES_PER_SHARD, SMALLEST_BUCKETS)
    order = np.argsort(places)
    ends = np.searchsorted(bucket(places[order], count), np.arange(count + 1))
    shards = []
    for index in range(count):
        here = order[ends[index] : ends[index + 1]]
        rows = {
            "image_id": image_ids(here),
            "class_name": CLASSES[here % 2],
            "source": ["web"] * len(here),
        }
        table = RETRIEVAL.conform(pa.table(rows), folder)
        stem = directory.shard_stem("part", index, count)
        shards.append(write_shard(folder, stem, RETRIEVAL.schema, [table]))
    commit.commit(folder, RETRIEVAL.name, [shard for shard in shards if shard], {"buckets": count})


def write_votes(folder: Path, questions: int) -> list[str]:
    """Files of ten million votes, four on each question; returns their names."""
    rng = np.random.default_rng(0)
    schema = pa.schema([(name, pa.string()) for name in VOTE.required])
    files: list[str] = []
    for start in range(0, questions, 10 * PIECE):
        files.append(f"votes-{len(files)}.parquet")
        with parquet.ParquetWriter(folder / files[-1], schema) as file:
            for first in range(start, min(questions, start + 10 * PIECE), PIECE):
                numbers = np.arange(first, min(questions, first + PIECE))
                asked = np.repeat(numbers, 4)
                right = rng.random(len(asked)) < 0.8
                worker = (rng.integers(0, 1000, len(numbers))[:, None] + np.arange(4) * 250) % 1000
                columns = {
                    "image_id": image_ids(numbers).take(pa.array(asked - first)),
                    "class_name": CLASSES[asked % 2],
                    "worker_id": np.char.add("worker-", worker.ravel().astype(str)),
                    "answer": np.where((asked % 3 == 0) == right, "no", "yes"),
                }
                file.write_table(pa.table(columns, schema=schema))
    return files


def measure_stage(votes: int, settings: list[str]) -> str:
    """Run the stage; return a table row with its time and the largest memory of one of its processes."""
    with tempfile.TemporaryDirectory() as folder:
        # In another process: what this one holds would count as memory of those that it starts.
        subprocess.run([sys.executable, "-m", "benchmarks.aggregate_stage", folder, str(votes)], check=True)
        command = [sys.executable, "-m", "pipeline", "aggregate", "--config", f"{folder}/build.yaml"]
        command += [part for setting in settings for part in ("--set", f"aggregate.{setting}")]
        start = os.times()
        measured = [*command, "--output", f"{folder}/out"]
        subprocess.run(measured, check=True, stdout=subprocess.DEVNULL)
        end = os.times()
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    wall = end.elapsed - start.elapsed
    cpu = end.children_user + end.children_system - start.children_user - start.children_system
    return f"| {votes:,} | {wall:.0f} | {cpu:.0f} | {cpu / votes * 1e6:.1f} | {peak:.0f} |"


if __name__ == "__main__":
    write_input(Path(sys.argv[1]), int(sys.argv[2]))
