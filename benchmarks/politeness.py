"""Whether the limits per host hold for a whole run, whatever the engine and the number of its workers.

    python -m benchmarks.politeness [--as 1,2,PrismRunner,flink]
    python -m benchmarks.politeness --mixed [--other CHECKOUT]

A server on loopback counts, for each host name, the requests of every second and those under way at once. The lists
name many hosts, and in a second run one large host, which is cut into shares on clusters. A way is 1 (the default), a
number of processes (Beam's multi-processing mode), a runner's name, or `flink` for a cluster that is started for it.

With --mixed: seconds to ingest from a thousand small hosts and a large one, here and with another version in turns.
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


def run(way: str, config: Path, output: Path) -> float:
    """Fetch in one of the ways; return the seconds."""
    shutil.rmtree(output, ignore_errors=True)
    command = [sys.executable, "-m", "pipeline", "fetch", "--config", str(config), "--output", str(output)]
    start = time.monotonic()
    if way == "flink":
        with tempfile.TemporaryDirectory(prefix="flink-") as logs, flink.cluster(Path(logs)) as cluster:
            start = time.monotonic()
            subprocess.run(
                [*command, *cluster.flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True
            )
            return time.monotonic() - start
    flags = ["--direct_running_mode=multi_processing", f"--direct_num_workers={way}"]
    flags = [f"--runner={way}"] if not way.isdigit() else flags if way != "1" else []
    subprocess.run([*command, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.monotonic() - start


def ingest(config: Path, output: Path, checkout: str | None) -> float:
    """Ingest, perhaps with another version; return the seconds."""
    shutil.rmtree(output, ignore_errors=True)
    command = [sys.executable, "-m", "pipeline", "ingest", "--config", str(config), "--output", str(output)]
    where = {"cwd": checkout, "env": {**os.environ, "PYTHONPATH": checkout}} if checkout else {}
    start = time.monotonic()
    subprocess.run(
        [*command, "--set", "ingest.max_rejected_share=1"], check=True, capture_output=True, **where
    )
    return time.monotonic() - start


def mixed(other: str | None, repeats: int = 2) -> None:
    """Print the least seconds of `repeats` runs, which take turns."""
    with tempfile.TemporaryDirectory(prefix="mixed-") as name, counting_server() as (port, _):
        folder = Path(name)
        small = [f"http://127.1.{i // 250}.{1 + i % 250}:{port}/{j}" for i in range(1000) for j in range(3)]
        large = [f"http://127.0.0.1:{port}/{i}" for i in range(3000)]
        # More at once than needed: with few, two processes of 0.1 asked the large host twice as often as they should.
        config = write_world(folder / "lists", [*small, *large], 32, 0)
        seconds: dict[str, list[float]] = {}
        for _ in range(repeats):
            for checkout in (None, other) if other else (None,):
                found = ingest(config, folder / "out", checkout)
                seconds.setdefault(checkout or "this version", []).append(found)
        for checkout, found in seconds.items():
            print(f"1,000 hosts of 3 URLs and one of 3,000, 32 at once: {min(found):.1f} s, {checkout}")


def main() -> None:
    """Requests per second and at once, by engine, against the limits; exit code 1 if one is exceeded."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--as", dest="ways", default="1,2", help="see above [%(default)s]")
    parser.add_argument("--mixed", action="store_true", help="see above")
    parser.add_argument("--other", metavar="CHECKOUT", help="with --mixed: another version to compare with")
    arguments = parser.parse_args()
    if arguments.mixed:
        mixed(arguments.other)
        return
    exceeded = False
    print(
        "| lists | as | s | limit a second | most in a second | limit at once | most at once | robots.txt a host |"
    )
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory(prefix="politeness-") as name, counting_server() as (port, counts):
        folder = Path(name)
        hosts = [f"127.0.0.{1 + i}" for i in range(10)]
        cases = [
            ("4,500 URLs of 10 hosts", [f"http://{hosts[i % 10]}:{port}/{i}" for i in range(4_500)], 3, 50),
            ("12,000 URLs of one host", [f"http://127.0.1.1:{port}/{i}" for i in range(12_000)], 40, 600),
        ]
        for what, urls, fetches, rate in cases:
            config = write_world(folder / "lists", urls, fetches, rate)
            for way in arguments.ways.split(","):
                counts.clear()
                seconds = run(way, config, folder / "out")
                assert sum(counts.bodies.values()) == len(urls), "each URL is asked for once"
                fastest = max(counts.most_in_a_second(host) for host in counts.times)
                most, policies = max(counts.most.values()), max(counts.policies.values())
                # A second may begin between two requests, so one more than the limit fits into it.
                exceeded |= fastest > rate + 1 or most > fetches or policies > len(POLICIES)
                print(
                    f"| {what} | {way} | {seconds:.0f} | {rate} | {fastest} | {fetches} | {most} "
                    f"| {policies // len(POLICIES)} |",
                    flush=True,
                )
    sys.exit(exceeded)


if __name__ == "__main__":
    main()
