"""CPU time of decoding in the decode pool, in pebble's pool, and in this process.

    uv pip install --python .venv pebble
    python -m benchmarks.decode_pool [--count 4000]

All call the same function for an image (read, decode, resize, encode) with two processes. pebble gets one task per image,
with a deadline, so that it can name the image that ended its process. CPU time is that of this process and its children,
without their start.
"""

import argparse
import multiprocessing
import resource
import tempfile
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.engines import draw
from benchmarks.rows import processor, record
from pipeline.ingest.decode_pool import DecodePool
from pipeline.ingest.process_image import ImageRequest, ImageResult, read_and_process
from pipeline.ingest.source_folder import SourceFolder
from pipeline.ingest_config import IngestConfig

PROCESSES = 2


def cpu() -> float:
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def alone(requests: list[ImageRequest], source: SourceFolder, config: IngestConfig) -> None:
    for request in requests:
        read_and_process(request, source, config)


def ours(requests: list[ImageRequest], folder: str, config: IngestConfig) -> None:
    pool = DecodePool(folder, config, PROCESSES)
    assert len(list(pool.process_all(enumerate(requests)))) == len(requests)
    pool.close()


def work(folder: str, config: IngestConfig, request: ImageRequest) -> ImageResult:
    return read_and_process(request, SourceFolder(folder, config.max_bytes), config)


def pebble(requests: list[ImageRequest], folder: str, config: IngestConfig) -> None:
    from pebble import ProcessPool

    with ProcessPool(PROCESSES, context=multiprocessing.get_context("spawn")) as pool:
        waiting: deque = deque()
        for request in requests:
            waiting.append(pool.schedule(work, args=(folder, config, request), timeout=60))
            if len(waiting) > 32 * PROCESSES:
                waiting.popleft().result()
        while waiting:
            waiting.popleft().result()


def milliseconds(run: Callable[[list[ImageRequest]], None], requests: list[ImageRequest]) -> float:
    """CPU time of an image: of a long run less that of a short one, so that starting processes does not count."""
    few = requests[: len(requests) // 10]
    begun = cpu()
    run(few)
    between = cpu()
    run(requests)
    return 1e3 * ((cpu() - between) - (between - begun)) / (len(requests) - len(few))


def main() -> None:
    """CPU milliseconds per image, in this process and in two others, by ours and by pebble."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=4000)
    arguments = parser.parse_args()
    print(f"{processor()}; CPU ms a picture, the least of three")
    print("| pictures | in this process | decode pool | pebble |\n|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory(prefix="pool-") as name:
        draw(Path(name), 1)
        requests = [ImageRequest(f"images/{i % 500}.jpg") for i in range(arguments.count)]
        for size in (32, 224):
            config = IngestConfig(size=size)
            ways = [
                partial(alone, source=SourceFolder(name, config.max_bytes), config=config),
                partial(ours, folder=name, config=config),
                partial(pebble, folder=name, config=config),
            ]
            least = [min(milliseconds(way, requests) for _ in range(3)) for way in ways]
            print(f"| 300×225 to {size} | {' | '.join(f'{value:.2f}' for value in least)} |", flush=True)
            record(
                f"decode in 2 processes, 300×225 to {size}",
                "CPU ms an image",
                least[1],
                "pebble",
                least[2],
                False,
            )


if __name__ == "__main__":
    main()
