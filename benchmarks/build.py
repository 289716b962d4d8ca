"""The build at full size: time, peak memory, and whether every number of processes and every engine writes the same bytes.

    python -m benchmarks.build --config configs/cifar10n.yaml --source DIR --output DIR [--as local,1,8,PrismRunner,flink]
    python -m benchmarks.build --demo --output DIR --as local,PrismRunner,flink       # the dataset of `make demo`

Builds the dataset once for each entry of --as, verifies it, and prints a table. An entry is a number of processes, `local`
(the default runner), `flink` (a cluster that the benchmark starts: docs/how-to/flink.md) or a runner's name. CPU time and
memory of a cluster are not measured.
"""

import argparse
import hashlib
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from demo.web import serve
from demo.world import FULL, make, write_lists
from tests.engines import flink

Measured = tuple[float, float, float]


def run(command: list[str]) -> Measured:
    """Run a command; return wall seconds, CPU seconds and the peak memory of its largest process in MiB."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    wall = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, after.ru_maxrss / 1024


def digest(folder: Path) -> str:
    """One digest of all shards of a dataset."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*.parquet")):
        total.update(str(path.relative_to(folder)).encode() + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def build(way: str, verb: list[str]) -> Measured:
    """Run the build in one of the ways."""
    if way == "flink":
        with tempfile.TemporaryDirectory(prefix="flink-") as folder, flink.cluster(Path(folder)) as cluster:
            return run([*verb, *cluster.flags])
    flag = [f"--direct_num_workers={way}"] if way.isdigit() else [f"--runner={way}"]
    return run(verb if way == "local" else [*verb, *flag])


@contextmanager
def demo_world(folder: Path) -> Iterator[list[str]]:
    """Draw the dataset of `make demo`, serve it, and yield the flags of the build."""
    folder.mkdir(parents=True, exist_ok=True)
    world = make(FULL, folder)
    with serve(world.pages) as url:
        write_lists(world, url, FULL.workers)
        yield ["--config", "configs/demo.yaml", "--set", f"source={folder}"]


@contextmanager
def given(config: str, source: str) -> Iterator[list[str]]:
    yield ["--config", config, "--set", f"source={source}"]


def main() -> None:
    """The build in several ways beside each other, by number of processes or engine: time, memory, equal bytes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config")
    parser.add_argument("--source")
    parser.add_argument("--demo", action="store_true", help="instead of --config and --source")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--as", dest="ways", default="local,1", help="see above [%(default)s]")
    arguments = parser.parse_args()
    if not (arguments.demo or (arguments.config and arguments.source)):
        parser.error("give --demo, or --config and --source")

    ways = arguments.ways.split(",")
    print(
        "| build | wall s | CPU s | peak MiB so far, largest process | digest of all shards |\n|---|---:|---:|---:|---|"
    )
    digests = set()
    of = (
        demo_world(arguments.output / "world")
        if arguments.demo
        else given(arguments.config, arguments.source)
    )
    with of as lists:
        for way in ways:
            output = arguments.output / way
            shutil.rmtree(output, ignore_errors=True)
            verb = [sys.executable, "-m", "pipeline", "build", *lists, "--json", "--output", str(output)]
            wall, cpu, memory = build(way, verb)
            digests.add(shards := digest(output / "dataset"))
            rest = "| |" if way == "flink" else f"| {cpu:.1f} | {memory:.0f} |"
            print(f"| {way} | {wall:.1f} {rest} {shards[:16]} |", flush=True)
    wall, cpu, memory = run(
        [sys.executable, "-m", "pipeline", "verify", str(arguments.output / ways[0] / "dataset")]
    )
    print(f"| verify | {wall:.1f} | {cpu:.1f} | {memory:.0f} | |")
    print(f"\nshards {'identical' if len(digests) == 1 else 'DIFFERENT'} in all ways")
    sys.exit(len(digests) != 1)


if __name__ == "__main__":
    main()
