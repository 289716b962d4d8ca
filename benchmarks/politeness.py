"""Check that the limits per host hold for a whole run, on several engines and numbers of worker processes.

    python -m benchmarks.politeness [--as 1,2,PrismRunner,flink]
    python -m benchmarks.politeness --mixed [--other CHECKOUT]

A server on loopback counts, for each host name, the requests per second and in progress. The first list has ten hosts,
the second one large host, which is cut into shares on clusters. --as takes numbers of processes (above 1: Beam's
multi-processing mode), names of runners, and `flink` for a cluster that the benchmark starts.

With --mixed: seconds to ingest from a thousand small hosts and a large one, alternating with another version.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.engines import flink
from tests.pipeline.fetch.counting import POLICIES, counting_server, write_world


def run(engine: str, config: Path, output: Path) -> float:
    """Fetch with an engine (see --as); return the seconds."""
    shutil.rmtree(output, ignore_errors=True)
    command = [sys.executable, "-m", "pipeline", "fetch", "--config", str(config), "--output", str(output)]
    start = time.monotonic()
    if engine == "flink":
        with tempfile.TemporaryDirectory(prefix="flink-") as logs, flink.cluster(Path(logs)) as cluster:
            start = time.monotonic()
            subprocess.run(
                [*command, *cluster.flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True
            )
            return time.monotonic() - start
    flags = ["--direct_running_mode=multi_processing", f"--direct_num_workers={engine}"]
    flags = [f"--runner={engine}"] if not engine.isdigit() else flags if engine != "1" else []
    subprocess.run([*command, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.monotonic() - start


def ingest(config: Path, output: Path, checkout: str | None) -> float:
    """Ingest with this version or another checkout; return the seconds."""
    shutil.rmtree(output, ignore_errors=True)
    command = [sys.executable, "-m", "pipeline", "ingest", "--config", str(config), "--output", str(output)]
    environment = {**os.environ, "PYTHONPATH": checkout} if checkout else None
    start = time.monotonic()
    subprocess.run(
        [*command, "--set", "ingest.max_rejected_share=1"],
        check=True, capture_output=True, cwd=checkout, env=environment,
    )  # fmt: skip
    return time.monotonic() - start


def mixed(other: str | None, repeats: int = 2) -> None:
    """Print the minimum seconds of `repeats` runs of each version, which alternate."""
    with tempfile.TemporaryDirectory(prefix="mixed-") as name, counting_server() as (port, _):
        folder = Path(name)
        small = [f"http://127.1.{i // 250}.{1 + i % 250}:{port}/{j}" for i in range(1000) for j in range(3)]
        large = [f"http://127.0.0.1:{port}/{i}" for i in range(3000)]
        # A high limit, because two processes of version 0.1 exceeded a low one.
        config = write_world(folder / "lists", [*small, *large], 32, 0)
        seconds: dict[str, list[float]] = {}
        for _ in range(repeats):
            for checkout in (None, other) if other else (None,):
                taken = ingest(config, folder / "out", checkout)
                seconds.setdefault(checkout or "this version", []).append(taken)
        for version, taken_seconds in seconds.items():
            print(
                f"1,000 hosts of 3 URLs and one of 3,000, 32 in progress: {min(taken_seconds):.1f} s, {version}"
            )


def main() -> None:
    """Print requests per second and in progress next to the limits; exit with 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--as", dest="engines", default="1,2", help="engines, separated by commas (default: %(default)s)"
    )
    parser.add_argument(
        "--mixed", action="store_true", help="compare the seconds of many small hosts and a large one instead"
    )
    parser.add_argument("--other", metavar="CHECKOUT", help="with --mixed: another version to compare with")
    arguments = parser.parse_args()
    if arguments.mixed:
        mixed(arguments.other)
        return
    exceeded = False
    print(
        "| lists | engine | s | limit per second | most per second | limit in progress | most in progress | robots.txt per host |"
    )
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory(prefix="politeness-") as name, counting_server() as (port, counts):
        folder = Path(name)
        hosts = [f"127.0.0.{1 + i}" for i in range(10)]
        cases = [
            ("4,500 URLs of 10 hosts", [f"http://{hosts[i % 10]}:{port}/{i}" for i in range(4_500)], 3, 50),
            ("12,000 URLs of one host", [f"http://127.0.1.1:{port}/{i}" for i in range(12_000)], 40, 600),
        ]
        for name_of_list, urls, concurrency, rate in cases:
            config = write_world(folder / "lists", urls, concurrency, rate)
            for engine in arguments.engines.split(","):
                counts.clear()
                seconds = run(engine, config, folder / "out")
                assert sum(counts.bodies.values()) == len(urls), "each URL is requested once"
                fastest = max(counts.most_in_a_second(host) for host in counts.times)
                most, policies = max(counts.most.values()), max(counts.policies.values())
                # Any window of one second may contain one request more than the limit.
                exceeded |= fastest > rate + 1 or most > concurrency or policies > len(POLICIES)
                print(
                    f"| {name_of_list} | {engine} | {seconds:.0f} | {rate} | {fastest} | {concurrency} | {most} "
                    f"| {policies // len(POLICIES)} |",
                    flush=True,
                )
    sys.exit(exceeded)


if __name__ == "__main__":
    main()
