"""Check training on a GPU, in two commands that share an output folder.

    python -m benchmarks.first_gpu --part 1 --output out/gpu    # at most 150 s: tests/gpu, then benchmarks.step --gpu
    python -m benchmarks.first_gpu --part 2 --output out/gpu    # at most 560 s: a study, and its summary

Part 2 trains PreAct-ResNet18 with batch size 512, bf16, CUDA graphs and a cosine schedule for 30 epochs on synthetic
sets of the size of CIFAR-10 with symmetric label noise: 40 and 80 %, then 60 and 20 %, each with vanilla, mixup, MentorMix
with the ramp schedule and MentorMix with the released settings and pd-closed; then the second seeds. It stops when its
time is used up. Run it again with the same folder to go on. `--dry-run` runs both parts on a CPU with tiny sizes.
"""

import argparse
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from common.config import build
from schemas.example import EXAMPLE, TEST_SET, example_schema
from schemas.manifest import MANIFEST, Manifest, Shard
from training.metrics import read_rows
from training.run_directory import read_result
from training.study import grid
from training.study.run_state import run_folder

CLASSES, SIDE = 10, 32
PROTOTYPES = 8  # smooth patterns per class
CHUNK = 256  # images drawn at a time by a thread
LEVELS = (0.4, 0.8, 0.6, 0.2)  # in the order of their priority
TEST_SECONDS = 90.0  # maximum duration of tests/gpu
RESERVE_SECONDS = 30.0  # of part 2, for starting the study and for its last checkpoint
WARM_UP_EPOCHS = 2  # their speed is not reported, because the first one compiles


@dataclass(frozen=True)
class Sizes:
    """Sizes of the sets and of the study."""

    train: int
    test: int
    seeds: tuple[int, ...]
    overrides: dict[str, Any]


OPTIMIZER = {
    "learning_rate": 0.2, "weight_decay": 5e-4, "schedule": "cosine", "decay_every": 0.0, "decay": 0.1,
    "warmup_epochs": 1.0,
}  # fmt: skip
AUGMENT = {"crop_padding": 4, "flip": True, "color": False}
SHARED = {"average_decay": 0.99, "evaluate_every": 5, "memorized_every": 30, "optimizer": OPTIMIZER}
FULL = Sizes(
    50_000,
    10_000,
    (0, 1, 2),
    {
        **SHARED, "epochs": 30, "batch_size": 512, "precision": "bf16", "compile": "reduce-overhead",
        "network": {"name": "preact_resnet18", "width": 64}, "augment": AUGMENT,
    },
)  # fmt: skip
TINY = Sizes(
    60,
    20,
    (0,),
    {
        **SHARED, "epochs": 1, "batch_size": 30, "precision": "bf16", "compile": "off",
        "network": {"name": "small_cnn", "width": 2}, "augment": AUGMENT,
    },
)  # fmt: skip


def run_logged(command: Sequence[str], log: Path, seconds: float) -> int | None:
    """Run a command, copy its output to `log` and to standard output; return its exit code, or None after `seconds`.

    The command has its own process group, so that after `seconds` the processes that it started are killed, too.
    """
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    timed_out = threading.Event()

    def end_group() -> None:
        timed_out.set()
        os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(max(0.0, seconds), end_group)
    timer.start()
    assert process.stdout is not None
    try:
        with process, log.open("w", encoding="utf-8") as file:
            for line in process.stdout:
                print(line, end="", flush=True)
                file.write(line)
                file.flush()
    except KeyboardInterrupt:
        os.killpg(process.pid, signal.SIGINT)  # a study saves its checkpoints
        process.wait()
        raise
    finally:
        timer.cancel()
    return None if timed_out.is_set() else process.returncode


def part_1(output: Path, seconds: float, dry_run: bool) -> int:
    """Run tests/gpu and benchmarks.step, and write part1.json."""
    started = time.monotonic()
    selected = "cpu and gradients and vanilla" if dry_run else "cuda"
    tests = ["-m", "pytest", "-q", "--durations", "10", "tests/gpu", "-k", selected]
    tests_code = run_logged([sys.executable, *tests], output / "tests.txt", min(seconds, TEST_SECONDS))
    tests_seconds = time.monotonic() - started
    tiny = [
        *("--network", "small_cnn", "--width", "2", "--images", "64", "--batch-size", "32", "--rounds", "1"),
        *("--methods", "vanilla", "mentormix"),
    ]
    step = ["-m", "benchmarks.step", *(tiny if dry_run else ["--gpu"])]
    step_code = run_logged([sys.executable, *step], output / "step.txt", seconds - tests_seconds)
    write_json(
        output / "part1.json",
        {
            "tests": {"exit_code": tests_code, "seconds": round(tests_seconds, 1)},
            "step": {"exit_code": step_code, "lines": (output / "step.txt").read_text("utf-8").splitlines()},
        },
    )
    return 0 if tests_code == step_code == 0 else 1


def part_2(output: Path, seconds: float, dry_run: bool) -> int:
    """Write the sets unless they exist, train the study until the time is used up, and write its summary."""
    started, sizes = time.monotonic(), TINY if dry_run else FULL
    data = output / "data"
    write_dataset(data, sizes)
    print(f"sets written after {time.monotonic() - started:.0f} s", flush=True)
    study = make_study(sizes)
    config = output / "study.yaml"
    write_json(config, study)
    left = seconds - (time.monotonic() - started)
    command = [
        *(sys.executable, "-m", "training", "study", "--config", str(config), "--data", str(data)),
        *("--output", str(output / "study"), "--order", "priority", "--budget", str(left - RESERVE_SECONDS)),
    ]
    code = run_logged(command, output / "study.txt", left)
    rows = summarize(study, data, output / "study")
    write_json(output / "part2.json", {"exit_code": code, "rows": rows})
    text = "\n".join([*summary_lines(rows), *idle_lines(output)])
    (output / "part2.md").write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0 if code in (0, 75) else 1  # 75: the budget is used up


def make_study(sizes: Sizes) -> dict[str, Any]:
    """Return the configuration of the study; vanilla and mixup are the same run in both settings."""
    return {
        "levels": LEVELS,
        "colors": ["blue"],
        "methods": ["vanilla", "mixup", "mentormix"],
        "seeds": sizes.seeds,
        "settings": {"ramp": {"recipe": "cifar10n_cpu"}, "pd-closed": {"recipe": "cifar10"}},
        "overrides": sizes.overrides,
    }


def summarize(study: dict[str, Any], data: Path, output: Path) -> list[dict[str, Any]]:
    """Return one row per noise level and method, with means over the seeds that have finished.

    images_per_second: median of the epochs after warm-up. time_ratio: the speed of vanilla at the same level over that
    of the method.
    """
    results: dict[tuple[float, str], dict[str, tuple[float, float]]] = defaultdict(dict)
    for cell in grid.make_cells(build(grid.StudyConfig, study, "study"), data):
        folder = run_folder(output, cell.run.name)
        result = read_result(folder)
        if result is None:
            continue
        method = f"{cell.method}, {cell.setting}" if cell.method == "mentormix" else cell.method
        speeds = [row["images_per_second"] for row in read_rows(folder)]
        speed = median(speeds[min(WARM_UP_EPOCHS, len(speeds) - 1) :])
        results[cell.noise_level, method][cell.run.name] = (result["final_accuracy"], speed)
    rows: list[dict[str, Any]] = []
    for (level, method), runs in results.items():
        accuracies, image_rates = zip(*runs.values(), strict=True)
        rows.append(
            {
                "noise_level": level,
                "method": method,
                "seeds": len(runs),
                "test_accuracy": mean(accuracies),
                "images_per_second": median(image_rates),
            }
        )
    vanilla = {row["noise_level"]: row["images_per_second"] for row in rows if row["method"] == "vanilla"}
    for row in rows:
        reference = vanilla.get(row["noise_level"])
        row["time_ratio"] = reference / row["images_per_second"] if reference else None
    return sorted(rows, key=lambda row: LEVELS.index(row["noise_level"]))


def summary_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the summary as Markdown."""
    lines = [
        "| noise level | method | seeds | test accuracy | images/s | time over vanilla's |",
        "|---:|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        ratio = "" if row["time_ratio"] is None else f"{row['time_ratio']:.2f}"
        lines.append(
            f"| {row['noise_level']:.0%} | {row['method']} | {row['seeds']} | {row['test_accuracy']:.1%} | "
            f"{row['images_per_second']:,.0f} | {ratio} |"
        )
    ratios = [
        row["time_ratio"] for row in rows if row["method"].startswith("mentormix") and row["time_ratio"]
    ]
    if ratios:
        lines += ["", f"MentorMix takes {median(ratios):.2f} times as long as vanilla (median)."]
    return lines


def idle_lines(output: Path) -> list[str]:
    """Return the lines of part 1 about the time without a running kernel, if part 1 has been run."""
    path = output / "part1.json"
    if not path.is_file():
        return []
    lines = json.loads(path.read_text(encoding="utf-8"))["step"]["lines"]
    return [f"\n{line}" for line in lines if "no kernel runs" in line]


def write_dataset(data: Path, sizes: Sizes) -> None:
    """Write the test set and one training set per noise level, if `data` does not hold them yet.

    An image is a random crop of one of the smooth patterns of its class, under another smooth pattern and noise.
    """
    if all((data / name / MANIFEST).is_file() for name in (TEST_SET, *map(set_name, LEVELS))):
        return
    rng = np.random.default_rng(0)
    side = SIDE + 8
    patterns = smooth_patterns(rng, (CLASSES + 1) * PROTOTYPES, side).reshape(
        CLASSES + 1, PROTOTYPES, side, side, 3
    )
    sets: dict[str, tuple[np.ndarray, list[bytes]]] = {}
    for name, count in (("train", sizes.train), (TEST_SET, sizes.test)):
        labels = np.arange(count) % CLASSES
        sets[name] = labels, draw_images(rng, patterns, labels)
    labels, images = sets["train"]
    write_set(data / TEST_SET, *sets[TEST_SET], sets[TEST_SET][0], 0.0)
    order, offsets = rng.permutation(sizes.train), rng.integers(1, CLASSES, sizes.train)
    for level in LEVELS:
        noisy = labels.copy()
        wrong = order[: round(level * sizes.train)]
        noisy[wrong] = (labels[wrong] + offsets[wrong]) % CLASSES
        write_set(data / set_name(level), noisy, images, labels, level)


def set_name(level: float) -> str:
    return f"blue-{level:.2f}"


def smooth_patterns(rng: np.random.Generator, count: int, side: int) -> np.ndarray:
    """Return float32 [count, side, side, 3] in about [−1, 1]."""
    coarse = torch.from_numpy(rng.normal(size=(count, 3, 6, 6)).astype(np.float32))
    fine = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic", align_corners=False)
    return fine.permute(0, 2, 3, 1).numpy()


def draw_images(rng: np.random.Generator, patterns: np.ndarray, labels: np.ndarray) -> list[bytes]:
    """Return PNG images of SIDE×SIDE pixels, one per label; the last row of `patterns` belongs to no class."""
    starts = range(0, len(labels), CHUNK)
    generators = rng.spawn(len(starts))

    def draw_chunk(number: int) -> list[bytes]:
        source, chosen = generators[number], labels[starts[number] : starts[number] + CHUNK]
        pixels = 128 + 30 * source.standard_normal((len(chosen), SIDE, SIDE, 3), dtype=np.float32)
        for rows in (chosen, np.full(len(chosen), CLASSES)):
            choices = source.integers(PROTOTYPES, size=len(chosen))
            top, left = source.integers(patterns.shape[2] - SIDE + 1, size=(2, len(chosen)))
            y, x = top[:, None] + np.arange(SIDE), left[:, None] + np.arange(SIDE)
            pixels += 30 * patterns[rows[:, None, None], choices[:, None, None], y[:, :, None], x[:, None, :]]
        return [encode_png(image) for image in pixels.clip(0, 255).astype(np.uint8)]

    with ThreadPoolExecutor() as pool:
        return [image for chunk in pool.map(draw_chunk, range(len(starts))) for image in chunk]


def encode_png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def write_set(
    folder: Path, labels: np.ndarray, images: list[bytes], true_labels: np.ndarray, noise_level: float
) -> None:
    """Write a set of one shard, and its manifest last."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"class-{number}" for number in range(CLASSES)]
    schema = example_schema(names)
    count = len(labels)
    columns: dict[str, Any] = {
        "image": pa.StructArray.from_arrays(
            [pa.array(images, pa.binary()), pa.nulls(count, pa.string())],
            fields=list(schema.field("image").type),
        ),
        "label": labels,
        "is_clean": labels == true_labels,
        "image_id": [f"id-{number:06d}" for number in range(count)],
        "source": ["test" if folder.name == TEST_SET else "clean"] * count,
        "true_label": true_labels,
    }
    arrays = [
        pa.array(columns[field.name], field.type) if field.name in columns else pa.nulls(count, field.type)
        for field in schema
    ]
    path = folder / "train-00000-of-00001.parquet"
    encoded = {"image.bytes": "none"}
    leaves = [name for name in EXAMPLE.schema.names if name != "image"]
    pq.write_table(
        pa.Table.from_arrays(arrays, schema=schema), path, row_group_size=1024, use_dictionary=leaves,
        compression=encoded | dict.fromkeys(["image.path", *leaves], "zstd"),
    )  # fmt: skip
    content = path.read_bytes()
    shard = Shard(path.name, count, len(content), hashlib.sha256(content).hexdigest())
    about = {"set_name": folder.name, "noise_level": noise_level, "class_names": names, "trial": 0}
    (folder / MANIFEST).write_text(Manifest("example", count, (shard,), about).to_json(), encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the two parts; return 0 if all of its commands succeeded, else 1."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", type=int, choices=(1, 2), required=True)
    parser.add_argument("--output", type=Path, required=True, help="folder of logs and results")
    parser.add_argument(
        "--seconds", type=float, help="maximum duration (default: 150 for part 1, 560 for part 2)"
    )
    parser.add_argument("--dry-run", action="store_true", help="use a CPU and tiny sizes")
    arguments = parser.parse_args(argv)
    if not arguments.dry_run and not torch.cuda.is_available():
        parser.error("torch sees no GPU; check the driver with nvidia-smi, or add --dry-run")
    arguments.output.mkdir(parents=True, exist_ok=True)
    if arguments.part == 1:
        return part_1(arguments.output, arguments.seconds or 150.0, arguments.dry_run)
    return part_2(arguments.output, arguments.seconds or 560.0, arguments.dry_run)


if __name__ == "__main__":
    sys.exit(main())
