"""Rows per second when reading the same 84×84 JPEG images in random order, from disk to uint8 arrays, on one core.

Compared are this project's streaming from Parquet shards with an exact global shuffle, the bare decoder (libjpeg-turbo on
bytes in memory, an upper bound), and the peers of benchmarks/reader_peers.py, each used as documented, without worker
processes. Peers that this Python does not have are taken from that of --peers.

    apt-get install libavdevice59     # or another FFmpeg, whose libraries SPDL loads
    python -m venv peers && peers/bin/pip install spdl grain pylance mosaicml-streaming simplejpeg
    python -m benchmarks.reader --peers peers/bin/python     # 20,000 images, 3 rounds; --quick: 2,000
"""

import argparse
import hashlib
import importlib.util
import io
import json
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from simplejpeg import decode_jpeg

from benchmarks.reader_peers import PEERS
from benchmarks.rows import record
from schemas.example import EXAMPLE, example_schema
from schemas.manifest import MANIFEST, Manifest, Shard
from training.data.image_stores import StreamedImages
from training.data.order import epoch_order
from training.data.shards import load

SIDE, CLASSES, BATCH, SHARD = 84, 100, 128, 5000
# What a peer imports, where this project's own environment may not have it.
MODULES = {"SPDL": ["spdl"], "Grain": ["grain"], "Lance": ["lance"], "MosaicML Streaming": ["streaming"]}


def jpegs(count: int) -> list[bytes]:
    """Return synthetic photographs of about 3 kB: smooth shapes with grain, at the JPEG quality of the published set."""
    rng = np.random.default_rng(0)
    result = []
    for _ in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (14, 14, 3), dtype=np.uint8))
        pixels = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC)).astype(np.int16)
        pixels = (pixels + rng.integers(-8, 9, pixels.shape)).clip(0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=72)
        result.append(buffer.getvalue())
    return result


def write_shards(folder: Path, data: list[bytes]) -> None:
    """Write a set as the pipeline does: uncompressed images, row groups of 1,024."""
    names = [str(number) for number in range(CLASSES)]
    schema, shards = example_schema(names), []
    folder.mkdir()
    for start in range(0, len(data), SHARD):
        rows = [
            dict.fromkeys(EXAMPLE.schema.names)
            | {"image": {"bytes": one, "path": None}, "label": n % CLASSES, "is_clean": True}
            | {"image_id": f"{n:06d}", "source": "clean"}
            for n, one in enumerate(data[start : start + SHARD], start)
        ]
        file = folder / f"train-{start:06d}.parquet"
        compression = {path: "none" if path == "image.bytes" else "zstd" for path in _leaves(schema)}
        pq.write_table(
            pa.Table.from_pylist(rows, schema=schema), file, row_group_size=1024, compression=compression,
            use_dictionary=[path for path in compression if path != "image.bytes"],
        )  # fmt: skip
        content = file.read_bytes()
        shards.append(Shard(file.name, len(rows), len(content), hashlib.sha256(content).hexdigest()))
    about = {"class_names": names, "noise_level": 0.0}
    (folder / MANIFEST).write_text(Manifest("example", len(data), tuple(shards), about).to_json())


def _leaves(schema: pa.Schema) -> list[str]:
    """Return the paths of the leaf columns of a schema."""
    leaves = []
    for field in schema:
        inner = [child.name for child in field.type] if pa.types.is_struct(field.type) else []
        leaves += [f"{field.name}.{name}" for name in inner] or [field.name]
    return leaves


def write_folders(folder: Path, data: list[bytes]) -> None:
    for n, one in enumerate(data):
        class_folder = folder / f"{n % CLASSES:03d}"
        class_folder.mkdir(parents=True, exist_ok=True)
        (class_folder / f"{n:06d}.jpg").write_bytes(one)


def write_tars(folder: Path, data: list[bytes]) -> None:
    folder.mkdir()
    for start in range(0, len(data), SHARD):
        with tarfile.open(folder / f"{start:06d}.tar", "w") as archive:
            for n, one in enumerate(data[start : start + SHARD], start):
                for suffix, content in (("jpg", one), ("cls", str(n % CLASSES).encode())):
                    info = tarfile.TarInfo(f"{n:06d}.{suffix}")
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))


def ours(folder: Path) -> Callable[[], int]:
    data = load(folder, resident_bytes=0)
    assert isinstance(data.images, StreamedImages)
    images = StreamedImages(data.images.encoded, data.images.ids, data.images.size, "", workers=1)
    rows = epoch_order(len(data), 0, 0).split(BATCH)
    return lambda: sum(len(batch) for batch in images.batches(rows))


def bare(data: list[bytes]) -> Callable[[], int]:
    arrays = [np.frombuffer(one, dtype=np.uint8) for one in data]
    return lambda: sum(decode_jpeg(one, "RGB").shape[0] == SIDE for one in arrays)


class Peer:
    """A peer in its own process, which reads all rows on request."""

    def __init__(self, python: str, name: str, folder: Path, count: int) -> None:
        command = [python, str(Path(__file__).with_name("reader_peers.py")), name, str(folder), str(count)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._line("ready")

    def __call__(self) -> tuple[int, float]:
        """Return the rows read and the CPU seconds of the process."""
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        result = json.loads(self._line("{"))
        return result["rows"], result["seconds"]

    def close(self) -> None:
        """End the process."""
        self.process.communicate()

    def _line(self, start: str) -> str:
        assert self.process.stdout
        for line in self.process.stdout:  # libraries print, too
            if line.startswith(start):
                return line
        raise RuntimeError(f"exit code {self.process.wait()}")


def timed(read: Callable[[], int]) -> Callable[[], tuple[int, float]]:
    """Return a function that returns the rows read and the CPU seconds of this process."""

    def run() -> tuple[int, float]:
        began = time.process_time()
        rows = read()
        return rows, time.process_time() - began

    return run


def start_peers(python: str | None, folder: Path, count: int) -> dict[str, Peer]:
    """Start the peers that this Python has, and the others with the Python of the peers."""
    peers = {}
    for name in PEERS:
        here = all(importlib.util.find_spec(module) for module in MODULES.get(name, ()))
        if not here and not python:
            print(f"{name} is left out: give --peers a Python that has it")
            continue
        try:
            peers[name] = Peer(sys.executable if here else str(python), name, folder, count)
        except RuntimeError as error:
            print(f"{name} is left out: it cannot read the images ({error})")
    return peers


def main() -> None:
    """Print rows per CPU second in random order, of this reader and of its peers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--peers", metavar="PYTHON", help="the Python that has SPDL, Grain, Lance and Streaming"
    )
    parser.add_argument("--quick", action="store_true", help="2,000 rows, one round")
    arguments = parser.parse_args()
    count, rounds = (2000, 1) if arguments.quick else (arguments.rows, arguments.rounds)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder, data = Path(temporary), jpegs(count)
        write_shards(folder / "shards", data)
        write_folders(folder / "folders", data)
        write_tars(folder / "tars", data)
        peers = start_peers(arguments.peers, folder, count)
        readers: dict[str, Callable[[], tuple[int, float]]] = {
            "bare libjpeg-turbo": timed(bare(data)),
            "ours, global shuffle": timed(ours(folder / "shards")),
            **peers,
        }
        speeds: dict[str, list[float]] = {name: [] for name in readers}
        for _ in range(rounds):  # interleaved, so that other load affects all equally
            for name, read in readers.items():
                rows, seconds = read()
                assert rows == count, f"{name}: {rows}"
                speeds[name].append(count / seconds)
        for peer in peers.values():
            peer.close()
    print(
        f"{count:,} JPEG of {SIDE} px, {sum(map(len, data)) / count:.0f} bytes on average; rows per CPU second"
    )
    best = {name: statistics.median(samples) for name, samples in speeds.items()}
    own_speed = best["ours, global shuffle"]
    for name, speed in best.items():
        print(f"{name:>22} {speed:8,.0f}   ours is {own_speed / speed:5.2f} times as fast")
        if not name.startswith("ours"):
            record(
                "84 px JPEG from disk to arrays, in random order",
                "rows per CPU second",
                own_speed,
                name,
                speed,
            )


if __name__ == "__main__":
    main()
