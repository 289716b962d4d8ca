"""Cost of twenty training sets compared with one, self-contained and shared.

    python -m benchmarks.split --output DIR [--clean 50000] [--wrong 45000] [--test 5000]

Writes tables of the earlier stages at the size of Mini-ImageNet (100 classes, JPEG of 84×84; 500 different images
repeat), then runs the split stage for one set and for twenty (red and blue at ten levels), self-contained and shared,
each in a separate process. Prints wall time, bytes written and peak memory.
"""

import argparse
import dataclasses
import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from benchmarks.rows import record
from pipeline.config import DedupeConfig
from pipeline.keyed_hash import bucket, bucket_count, shard_key
from pipeline.running.stage import manifest_digest
from pipeline.shards import commit, directory
from pipeline.shards.parquet import write_shard
from schemas.duplicate import DUPLICATE
from schemas.error_model import ERROR_MODEL
from schemas.image import IMAGES
from schemas.retrieval import RETRIEVAL
from schemas.verdict import VERDICT

CLASSES = [f"class-{i:02d}" for i in range(100)]
LEVELS = [0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8]
SAMPLES = 500
ONE: dict[str, object] = {"noise.levels": [0.4], "noise.colors": ["red"]}
RUNS: dict[str, dict[str, object]] = {
    "one set": ONE,
    "one set, shared": {**ONE, "shards.mode": "shared"},
    "twenty sets": {},
    "twenty sets, shared": {"shards.mode": "shared"},
}


def sample_images() -> list[bytes]:
    """Return JPEGs of 84×84 of about the size of real ones."""
    rng = np.random.default_rng(0)
    images = []
    for _ in range(SAMPLES):
        blobs = Image.fromarray(rng.integers(0, 256, (21, 21, 3), np.uint8).astype(np.uint8))
        buffer = io.BytesIO()
        blobs.resize((84, 84), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=72)
        images.append(buffer.getvalue())
    return images


def write_tables(output: Path, clean: int, wrong: int, test: int) -> None:
    """Write the tables of the earlier stages."""
    sources = np.repeat(["clean", "web", "test"], [clean, wrong, test])
    number = np.concatenate([np.arange(clean), np.arange(wrong), np.arange(test)])
    ids = np.array([f"{s}-{i:06d}" for s, i in zip(sources, number, strict=True)], object)
    images = pd.DataFrame(
        {"image_id": ids, "source": sources, "class_name": np.array(CLASSES, object)[number % 100]}
    )
    images["shard_key"] = shard_key(ids)
    images = images.sort_values("shard_key", ignore_index=True)
    buckets = bucket_count(len(images), 2048)
    parts = [part for _, part in images.groupby(bucket(images["shard_key"].to_numpy(), buckets))]
    ingest = {"size": 84, "format": "jpeg", "quality": 72, "resize": "exact", "resample": "area"}
    encoded = sample_images()
    for folder, kind, rows, about in (
        ("ingest/images", IMAGES, lambda part: image_rows(part, encoded), {"ingest": ingest}),
        ("ingest/retrievals", RETRIEVAL, retrieval_rows, {"ingest": ingest}),
        ("aggregate/verdicts", VERDICT, verdict_rows, {}),
        ("aggregate/error_model", ERROR_MODEL, lambda _: [], {}),
        ("dedupe/duplicates", DUPLICATE, lambda _: [], {"dedupe": dataclasses.asdict(DedupeConfig())}),
    ):
        path = str(output / folder)
        shards = [
            write_shard(
                path,
                directory.shard_stem("part", index, buckets),
                kind.schema,
                [kind.from_rows(rows(part))],
            )
            for index, part in enumerate(parts)
        ]
        made = {"buckets": buckets, "counts": {}, "config": about}
        if kind in (VERDICT, DUPLICATE):
            tables = {name: str(output / "ingest" / name) for name in ("images", "retrievals")}
            made["inputs"] = {name: manifest_digest(path) for name, path in tables.items()}
        commit.commit(path, kind.name, [shard for shard in shards if shard], made)
    config = {
        "source": str(output), "classes": CLASSES, "clean": ["-"], "test": ["-"], "web": ["-"], "votes": ["-"],
        "noise": {"levels": LEVELS, "colors": ["red", "blue"]},
    }  # fmt: skip
    (output / "build.yaml").write_text(yaml.safe_dump(config))


def image_rows(images: pd.DataFrame, encoded: list[bytes]) -> Iterator[dict]:
    for i, image_id, source in zip(images.index, images["image_id"], images["source"], strict=True):
        yield {
            "image_id": image_id, "source": source, "width": 500, "height": 375, "format": "JPEG",
            "image": {"bytes": encoded[i % SAMPLES], "path": f"{image_id}.jpeg"}, "animated": False, "bytes_in": 1,
            "sha256": f"{i:064x}", "phash": i, "phash_orientations": [0, 0, 0], "phash_256": i.to_bytes(32, "big"),
            "contrast": 50.0, "sharpness": 50.0, "thumbnail": bytes(1216),
        }  # fmt: skip


def retrieval_rows(images: pd.DataFrame) -> Iterator[dict]:
    for i, row in zip(images.index, images.drop(columns="shard_key").to_dict("records"), strict=True):
        yield {**row, "method": "text", "location": f"l:{i}"}


def verdict_rows(images: pd.DataFrame) -> Iterator[dict]:
    verdict = {"verdict": "no", "yes": 0, "no": 3, "unsure": 0, "confidence": 1.0, "posterior": 0.0}
    for row in images[images["source"] == "web"][["image_id", "class_name"]].to_dict("records"):
        yield {**row, **verdict}


def measure(output: Path, overrides: dict[str, object]) -> tuple[float, int, float]:
    """Run the split stage anew; return wall seconds, bytes of the dataset, and peak MiB of the largest process."""
    shutil.rmtree(output / "dataset", ignore_errors=True)
    shutil.rmtree(output / "split", ignore_errors=True)
    command = [
        sys.executable,
        "-m",
        "pipeline",
        "split",
        "--config",
        str(output / "build.yaml"),
        "--output",
        str(output),
    ]
    for key, value in overrides.items():
        command += ["--set", f"{key}={json.dumps(value)}"]
    code = "import resource,subprocess,sys; r = subprocess.run(sys.argv[1:]); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr); sys.exit(r.returncode)"
    # Compiled modules, as of an installed program, whatever this shell is set to.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(output / "compiled")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code, *command], stderr=subprocess.PIPE, text=True, env=environment
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr}")
    wall = time.monotonic() - start
    size = sum(path.stat().st_size for path in (output / "dataset").rglob("*.parquet"))
    return wall, size, int(done.stderr.split()[-1]) / 1024


def main() -> None:
    """Measure the split stage for one set and for twenty: time, bytes, memory."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--clean", type=int, default=50_000)
    parser.add_argument("--wrong", type=int, default=45_000)
    parser.add_argument("--test", type=int, default=5_000)
    arguments = parser.parse_args()
    shutil.rmtree(arguments.output, ignore_errors=True)
    write_tables(arguments.output, arguments.clean, arguments.wrong, arguments.test)
    measure(arguments.output, ONE)  # compiles modules and fills the page cache
    rows = {name: measure(arguments.output, overrides) for name, overrides in RUNS.items()}
    one = rows["one set"][0]
    shared = rows["one set, shared"][0]
    for name, base in (("twenty sets", "one set"), ("twenty sets, shared", "one set, shared")):
        what = f"{name}, {arguments.clean:,} images"
        record(what, "s", rows[name][0], f"twenty times {base}", 20 * rows[base][0], more_is_better=False)
    print(f"\n{arguments.clean:,} clean, {arguments.wrong:,} wrong, {arguments.test:,} test images\n")
    print(
        "| run | wall s | of one set | of one shared | MiB written | peak MiB, largest process |\n"
        "|---|---:|---:|---:|---:|---:|"
    )
    for name, (wall, size, memory) in rows.items():
        print(
            f"| {name} | {wall:.1f} | {wall / one:.2f} | {wall / shared:.2f} | {size / 2**20:.0f} | {memory:.0f} |"
        )


if __name__ == "__main__":
    main()
