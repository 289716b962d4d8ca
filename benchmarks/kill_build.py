"""Kill a build with SIGKILL at random points, let the last run finish, and compare with an uninterrupted build.

    python -m benchmarks.kill_build [--kills 20] [--config FILE --source DIR]

Without --config, the small dataset of the tests is built. After every kill, the trainer's reader checks each set that has a
manifest. At the end, the dataset must equal that of an uninterrupted build byte for byte. The kills are spread over the
duration of the uninterrupted build; every second one starts from an empty folder.
"""

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from schemas.manifest import MANIFEST
from tests.pipeline.built_tables import digests
from tests.pipeline.small_world import write_world
from training.data.shards import load

IMPORTS = 0.25  # share of a small build's time that is spent on imports, before any file is written


def start(config: Path, source: Path, output: Path) -> subprocess.Popen:
    command = ["build", "--config", str(config), "--set", f"source={source}", "--output", str(output)]
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", *command, "--direct_num_workers=1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def dataset_digests(output: Path) -> dict[str, str]:
    """Return the digests of the dataset's files; other outputs, such as metrics, differ between runs."""
    return digests(output / "dataset")


def main() -> None:
    """Compare the dataset of a repeatedly killed build with that of an uninterrupted one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--source", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    moments = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        config, source = arguments.config, arguments.source
        if config is None:
            world = write_world(Path(folder) / "set")
            config, source = world.config, world.folder
        started = time.monotonic()
        if start(config, source, Path(folder) / "whole").wait():
            sys.exit("the uninterrupted build failed")
        seconds = time.monotonic() - started
        expected = dataset_digests(Path(folder) / "whole")
        output, sets_read = Path(folder) / "killed", 0
        for kill in range(arguments.kills):
            if kill % 2 == 0:
                shutil.rmtree(output, ignore_errors=True)
            running = start(config, source, output)
            time.sleep(seconds * (IMPORTS + (1 - IMPORTS) * (kill + moments.random()) / arguments.kills))
            running.send_signal(signal.SIGKILL)
            running.wait()
            committed = [path.parent for path in (output / "dataset").glob(f"*/{MANIFEST}")]
            for set_folder in committed:
                if set_folder.name != "images":
                    load(set_folder)  # raises if the set is incomplete
            sets_read += len(committed)
            stages = sorted(path.name for path in output.iterdir()) if output.exists() else []
            print(
                f"kill {kill + 1}: {', '.join(stages) or 'nothing'}; {len(committed)} complete sets",
                flush=True,
            )
        if start(config, source, output).wait():
            sys.exit("the last build failed")
        if dataset_digests(output) != expected:
            sys.exit("FAILED: the dataset differs from that of an uninterrupted build")
    print(
        f"{arguments.kills} kills: {sets_read} sets read in between, all complete; {len(expected)} files identical"
    )


if __name__ == "__main__":
    main()
