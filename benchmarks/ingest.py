"""Download, decode, resize and store: img2dataset and this pipeline on the same cores and the same server.

    uv venv .venv-img2dataset --python 3.11
    uv pip install --python .venv-img2dataset/bin/python img2dataset
    python -m benchmarks.ingest --img2dataset .venv-img2dataset/bin/python            the comparison, about 5 minutes
    python -m benchmarks.ingest --memory                                              1,000 to 100,000 URLs, about 10

The server is a separate process and responds after 5 ms. Both write 224×224 JPEGs of quality 90 (shorter side scaled,
center cropped, area filter) as Parquet; this pipeline also computes fingerprints and keeps the downloaded bodies. Both
run from the command line with one process per core; time includes their start. Memory is the peak of the summed resident
set sizes of all their processes.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from benchmarks.rows import record
from schemas.manifest import MANIFEST

CORES = os.cpu_count() or 1


@contextmanager
def server(width: int = 500, height: int = 375, latency: float = 0.005) -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.fast_web", f"--width={width}", f"--height={height}"]
    command.append(f"--latency={latency}")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout
        port, size = running.stdout.readline().split()
        print(f"server: JPEGs of {width}×{height}, {int(size):,} bytes on average")
        yield f"http://127.0.0.1:{port}"
        running.kill()


def measure(command: list[str], **more: Any) -> dict[str, float]:
    """Run a command; return seconds, CPU seconds with all children, and peak memory in MB."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more
    ) as running:
        peak = [0.0, 0.0]
        watcher = threading.Thread(target=watch, args=(running, peak), daemon=True)
        watcher.start()
        output, _ = running.communicate()
    if running.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{output[-3000:]}")
    seconds = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": seconds, "cpu": cpu, "peak": peak[0], "worker": peak[1]}


def watch(running: subprocess.Popen[str], peak: list[float]) -> None:
    """Record the peak memory of the process with all its descendants, and of the largest descendant, from /proc."""
    while running.poll() is None:
        sizes = [resident(pid) for pid in [running.pid, *descendants(running.pid)]]
        peak[:] = [max(peak[0], sum(sizes)), max(peak[1], 0.0, *sizes[1:])]
        time.sleep(0.1)


def descendants(pid: int) -> list[int]:
    try:
        result = [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:
        return []
    return result + [each for child in result for each in descendants(child)]


def resident(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / 1e6
    except OSError:
        return 0.0


def ours(folder: Path, url: str, count: int, **values: object) -> dict[str, float]:
    rows = "".join(f"i{i},a,{url}/{i}.jpg\n" for i in range(count))
    (folder / "web.csv").write_text("image_id,class_name,url\n" + rows)
    config = {
        "source": str(folder),
        "classes": ["a", "b"],
        "clean": [],
        "test": [],
        "web": ["web.csv"],
        "votes": [],
        "fetch": {"allow_private_hosts": True, "host_concurrency": 64, "host_requests_per_second": 0},
        "ingest": values,
    }
    (folder / "build.yaml").write_text(json.dumps(config))
    shutil.rmtree(folder / "out", ignore_errors=True)
    command = [sys.executable, "-m", "pipeline", "ingest", "--config", f"{folder}/build.yaml"]
    result = measure([*command, "--output", f"{folder}/out", f"--direct_num_workers={CORES}"])
    manifest = json.loads((folder / "out" / "ingest" / "images" / MANIFEST).read_text())
    assert manifest["rows"] == count, manifest["rows"]
    return result


def img2dataset(folder: Path, python: str, url: str, count: int) -> dict[str, float]:
    (folder / "urls.txt").write_text("".join(f"{url}/{i}.jpg\n" for i in range(count)))
    shutil.rmtree(folder / "theirs", ignore_errors=True)
    program = (
        "from img2dataset import download\n"
        "if __name__ == '__main__':\n"
        f"    download(url_list={str(folder / 'urls.txt')!r}, output_folder={str(folder / 'theirs')!r},\n"
        f"        output_format='parquet', input_format='txt', processes_count={CORES}, thread_count=64,\n"
        "        image_size=224, resize_mode='center_crop', resize_only_if_bigger=False, encode_quality=90,\n"
        "        encode_format='jpg', number_sample_per_shard=1000, retries=0, enable_wandb=False)\n"
    )
    (folder / "theirs.py").write_text(program)
    result = measure([python, str(folder / "theirs.py")], env=os.environ | {"NO_ALBUMENTATIONS_UPDATE": "1"})
    done = sum(json.loads(file.read_text())["successes"] for file in (folder / "theirs").glob("*_stats.json"))
    assert done == count, f"img2dataset downloaded {done} of {count}"
    return result


def row(name: str, count: int, result: dict[str, float]) -> str:
    return (
        f"{name:<22} {count / result['seconds']:7.0f} images/s  {1e3 * result['cpu'] / count:6.2f} ms CPU per image  "
        f"{result['peak']:6.0f} MB in total, {result['worker']:5.0f} MB in the largest worker process"
    )


def compare(folder: Path, count: int, python: str, repeats: int) -> None:
    with server() as url:
        print(f"{count} images, {CORES} cores, best of {repeats}")
        runs = [(img2dataset(folder, python, url, count), ours(folder, url, count)) for _ in range(repeats)]
    theirs, mine = (min(result, key=lambda run: run["seconds"]) for result in zip(*runs, strict=True))
    print(row("img2dataset", count, theirs))
    print(row("ours", count, mine))
    speed, cpu = theirs["seconds"] / mine["seconds"], theirs["cpu"] / mine["cpu"]
    what = f"{count:,} URLs to stored 224 px JPEGs, {CORES} cores"
    record(what, "images/s", count / mine["seconds"], "img2dataset", count / theirs["seconds"])
    record(
        what, "CPU ms per image", 1e3 * mine["cpu"] / count, "img2dataset", 1e3 * theirs["cpu"] / count, False
    )
    print(f"ours / img2dataset: {speed:.2f} times the images per second, 1/{cpu:.2f} of the CPU time")


def memory(folder: Path, counts: list[int]) -> None:
    with server(120, 90) as url:
        for count in counts:
            print(row(f"ours, {count:,} URLs", count, ours(folder, url, count, size=32, resize="exact")))
            shutil.rmtree(folder / "out")


def main() -> None:
    """Compare with img2dataset, measure memory by number of URLs (--memory), or measure this pipeline alone."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--img2dataset", metavar="PYTHON", help="compare with the img2dataset of this Python")
    parser.add_argument("--memory", action="store_true", help="peak memory by number of URLs")
    parser.add_argument("--size", type=int, help="number of images, or largest number of URLs")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ingest-") as name:
        if arguments.img2dataset:
            compare(Path(name), arguments.size or 10_000, arguments.img2dataset, arguments.repeats)
        elif arguments.memory:
            most = arguments.size or 100_000
            memory(Path(name), sorted({count for count in (1_000, 10_000, 100_000) if count < most} | {most}))
        else:
            with server() as url:
                print(row("ours", arguments.size or 10_000, ours(Path(name), url, arguments.size or 10_000)))
                print(sum(json.loads(urlopen(f"{url}/count").read()).values()), "requests")


if __name__ == "__main__":
    main()
