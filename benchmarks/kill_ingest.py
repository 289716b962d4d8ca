"""Kill an ingest of URLs with SIGKILL at random moments, restart it, and compare with an uninterrupted run.

    python -m benchmarks.kill_ingest [--kills 10] [--size 6000]

A local server counts the requests per URL. No URL that is in a journal may be requested again, and the final table must
equal that of an uninterrupted run, byte for byte. Decoding processes are killed, too. About five minutes.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

from benchmarks.ingest import server

BETWEEN = (0.2, 0.45)  # of the time of the undisturbed run, of which imports take the first part
WORKERS = 2  # that decode
FETCHES = 8  # slow enough for ten kills to come in between
LATENCY = 0.05


def start(folder: Path, output: Path) -> subprocess.Popen[bytes]:
    command = ["ingest", "--config", str(folder / "build.yaml"), "--output", str(output)]
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", *command, f"--direct_num_workers={WORKERS}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # so that its workers can be killed with it
    )


def asked(url: str) -> dict[str, int]:
    """How often the server was asked for each path."""
    return dict(json.loads(urlopen(f"{url}/count").read()))


def recorded(output: Path) -> set[str]:
    """The paths of which a journal has a complete line."""
    result = set()
    for log in (output / "fetch" / "bodies").glob("*.jsonl"):
        for line in log.read_bytes().split(b"\n")[:-1]:
            result.add("/" + json.loads(line)["url"].rsplit("/", 1)[1])
    return result


def table(output: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (output / "ingest" / "images").iterdir()}


def main() -> None:
    """The images of an ingest that is killed and begun again, beside those of an undisturbed one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--size", type=int, default=6000, help="URLs")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    moments = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory(prefix="kill-") as name, server(120, 90, LATENCY) as url:
        folder = Path(name)
        rows = "".join(f"a,{url}/{i}.jpg\n" for i in range(arguments.size))
        (folder / "web.csv").write_text("class_name,url\n" + rows)
        fetch = {
            "allow_private_hosts": True,
            "host_concurrency": FETCHES,
            "host_requests_per_second": 0,
            "concurrency": FETCHES,
        }
        lists = {"clean": [], "test": [], "web": ["web.csv"], "votes": []}
        config = {"source": name, "classes": ["a", "b"], **lists, "fetch": fetch, "ingest": {"size": 32}}
        (folder / "build.yaml").write_text(json.dumps(config))
        begun = time.monotonic()
        if start(folder, folder / "whole").wait():
            sys.exit("the undisturbed run failed")
        took = time.monotonic() - begun
        expected, output = table(folder / "whole"), folder / "killed"
        fetched_again, kills = 0, 0
        while kills < arguments.kills:
            before, counted = recorded(output), asked(url)
            running = start(folder, output)
            time.sleep(took * moments.uniform(*BETWEEN))
            if running.poll() is not None:
                break  # it came to its end
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()
            kills += 1
            now = asked(url)
            again = sum(now[path] > counted.get(path, 0) for path in before)
            lost = sum(now.values()) - sum(counted.values()) - len(recorded(output) - before)
            fetched_again += again
            print(
                f"kill {kills}: {len(recorded(output)):,} URLs in the journal, {lost} requested and lost",
                flush=True,
            )
        before, counted = recorded(output), asked(url)
        if start(folder, output).wait():
            sys.exit("the last run failed")
        now = asked(url)
        fetched_again += sum(now[path] > counted.get(path, 0) for path in before)
        same = table(output) == expected
        print(f"{kills} kills; {fetched_again} URLs requested again that were in a journal; "
              f"the table is {'the same to the byte' if same else 'DIFFERENT'}")  # fmt: skip
        if fetched_again or not same:
            sys.exit(1)


if __name__ == "__main__":
    main()
