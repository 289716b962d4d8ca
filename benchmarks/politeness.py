"""Whether the limits per host hold for a whole run, whatever the engine and the number of its workers.

    python -m benchmarks.politeness [--as 1,2,PrismRunner,flink]

A server on loopback counts, for each host name, the requests of every second and those under way at once. The lists
name many hosts, and in a second run one large host, which is cut into shares on clusters. A way is 1 (the default), a
number of processes (Beam's multi-processing mode), a runner's name, or `flink` for a cluster that is started for it.
"""

import argparse
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


def main() -> None:
    """Requests per second and at once, by engine, against the limits; exit code 1 if one is exceeded."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--as", dest="ways", default="1,2", help="see above [%(default)s]")
    arguments = parser.parse_args()
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
