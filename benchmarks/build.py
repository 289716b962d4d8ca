"""The build at full size: time, peak memory, and whether every number of processes and every runner writes the same bytes.

    python -m benchmarks.build --config configs/cifar10n.yaml --source DIR --output DIR [--as 1,2,8,BundleBasedDirectRunner]

Builds the dataset once in each way, verifies it, and prints a table.
"""

import argparse
import hashlib
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path


def run(command: list[str]) -> tuple[float, float, float]:
    """Run a command; return wall seconds, CPU seconds and the peak memory of its largest process in MiB."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    subprocess.run(command, check=True)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--as", dest="ways", default="2,1", help="numbers of processes, or runners [2,1]")
    arguments = parser.parse_args()

    rows = []
    ways = {way: "direct_num_workers" if way.isdigit() else "runner" for way in arguments.ways.split(",")}
    for way, flag in ways.items():
        output = Path(arguments.output) / way
        shutil.rmtree(output, ignore_errors=True)
        verb = [sys.executable, "-m", "pipeline", "build", "--config", arguments.config]
        verb += [
            "--set",
            f"source={arguments.source}",
            "--output",
            str(output),
            f"--{flag}={way}",
        ]
        wall, cpu, memory = run(verb)
        rows.append(
            (
                f"build, {way}{' processes' if way.isdigit() else ''}",
                wall,
                cpu,
                memory,
                digest(output / "dataset"),
            )
        )
    dataset = Path(arguments.output) / next(iter(ways)) / "dataset"
    wall, cpu, memory = run([sys.executable, "-m", "pipeline", "verify", str(dataset)])
    rows.append(("verify", wall, cpu, memory, ""))

    print(
        "\n| run | wall s | CPU s | peak MiB so far, largest process | digest of all shards |\n|---|---:|---:|---:|---|"
    )
    for name, wall, cpu, memory, shards in rows:
        print(f"| {name} | {wall:.1f} | {cpu:.1f} | {memory:.0f} | {shards[:16]} |")
    same = len({row[4] for row in rows if row[4]}) == 1
    print(f"\nshards {'identical' if same else 'DIFFERENT'} in all ways")
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
