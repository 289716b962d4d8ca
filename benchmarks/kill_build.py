"""Kills a build with SIGKILL at random points, again and again, then lets it end and compares.

    python -m benchmarks.kill_build [--kills 20] [--config FILE --source DIR]

Without --config, the small set of the tests is built. After every kill each set that has a manifest is read and
checked by the trainer's reader; in the end the output must be, to the byte, that of a build that nobody disturbed.
Moments are spread over the time that the undisturbed build took; every second kill starts from nothing.
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
from tests.pipeline.built_files import digests
from tests.pipeline.small_world import write_world
from training.data.shards import load

IMPORTS = 0.25  # of the time of a small build, in which nothing can be spoilt


def start(config: Path, source: Path, output: Path) -> subprocess.Popen:
    command = ["build", "--config", str(config), "--set", f"source={source}", "--output", str(output)]
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", *command, "--direct_num_workers=1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def dataset_digests(output: Path) -> dict[str, str]:
    """Of the dataset; split/changes.json and the metrics tell of one run, and runs differ."""
    return digests(output / "dataset")


def main() -> None:
    """The dataset of a build that is killed and begun again, beside that of an undisturbed one."""
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
        begun = time.monotonic()
        if start(config, source, Path(folder) / "whole").wait():
            sys.exit("the undisturbed build failed")
        took = time.monotonic() - begun
        expected = dataset_digests(Path(folder) / "whole")
        output, seen = Path(folder) / "killed", 0
        for kill in range(arguments.kills):
            if kill % 2 == 0:
                shutil.rmtree(output, ignore_errors=True)
            running = start(config, source, output)
            time.sleep(took * (IMPORTS + (1 - IMPORTS) * (kill + moments.random()) / arguments.kills))
            running.send_signal(signal.SIGKILL)
            running.wait()
            committed = [path.parent for path in (output / "dataset").glob(f"*/{MANIFEST}")]
            for one in committed:
                if one.name != "images":
                    load(one)  # raises if the set is not whole
            seen += len(committed)
            stages = sorted(path.name for path in output.iterdir()) if output.exists() else []
            print(
                f"kill {kill + 1}: {', '.join(stages) or 'nothing'}; {len(committed)} whole sets", flush=True
            )
        if start(config, source, output).wait():
            sys.exit("the last build failed")
        if dataset_digests(output) != expected:
            sys.exit("FAILED: the dataset is not that of an undisturbed build")
    print(
        f"{arguments.kills} kills, {seen} sets read in between, all whole; {len(expected)} files as undisturbed"
    )


if __name__ == "__main__":
    main()
