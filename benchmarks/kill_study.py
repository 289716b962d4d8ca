"""Kill one of two `study` commands that share a folder with SIGKILL at random moments, and restart it each time.

    python -m benchmarks.kill_study --kills 20

Exit code 1 if a run is lost, a finished run is trained again, or the tables differ from those of an undisturbed study.
Takes about 12 CPU minutes for twenty kills.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.training.conftest import striped, write_set
from tests.training.study.small_study import without_times

STUDY = """
levels: [0.0, 0.4]
colors: [blue]
methods: [vanilla, mixup, mentormix]
recipe: tiny
overrides: {epochs: 60, batch_size: 32, precision: fp32, network: {width: 8}}
"""
START = """
import sys, torch
from training import run_clock
from training.__main__ import main
torch.set_num_threads(1)
run_clock.CHECKPOINT_SECONDS = 0.5
sys.exit(main(sys.argv[1:]))
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--jobs", type=int, default=1, help="of both commands; kills hit the command, not its workers"
    )
    arguments = parser.parse_args()
    moments = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        data, alone, shared = (root / name for name in ("data", "alone", "shared"))
        for level in (0.0, 0.4):
            write_set(data / f"blue-{level:.2f}", striped(960, level, seed=1), noise_level=level)
        write_set(data / "test", striped(60, 0.0, seed=2), color=None)
        (root / "study.yaml").write_text(STUDY)
        assert start(root, alone, "alone.log", jobs=1).wait() == 0
        survivor = start(root, shared, "survivor.log", arguments.jobs)
        victim = start(root, shared, "victim-0.log", arguments.jobs)
        kills, results = 0, dict[Path, int]()
        while kills < arguments.kills and survivor.poll() is None:
            log = root / f"victim-{kills}.log"
            while not log.stat().st_size and victim.poll() is None:  # importing torch
                time.sleep(0.02)
            time.sleep(moments.uniform(0, 4))
            if victim.poll() is not None:
                break
            results = {path: path.stat().st_ino for path in shared.glob("runs/*/result.json")} | results
            victim.kill()
            victim.wait()
            kills += 1
            print(f"kill {kills}: {len(results)} runs finished", flush=True)
            victim = start(root, shared, f"victim-{kills}.log", arguments.jobs)
        codes = survivor.wait(), victim.wait()
        rewritten = [path for path, inode in results.items() if path.stat().st_ino != inode]
        same = without_times(shared) == without_times(alone)
        runs = len(list(shared.glob("runs/*/result.json")))
    print(f"{runs} runs, {kills} kills; finished runs trained again: {len(rewritten)}")
    print(f"exit codes {codes}; tables equal those of an undisturbed study: {same}")
    return 0 if same and not rewritten and codes == (0, 0) and kills else 1


def start(root: Path, output: Path, log: str, jobs: int) -> subprocess.Popen[bytes]:
    """Start a study; its progress lines go to the file `log`."""
    command = [
        "study",
        "--data",
        str(root / "data"),
        "--output",
        str(output),
        "--config",
        str(root / "study.yaml"),
    ]
    with (root / log).open("wb") as progress:
        return subprocess.Popen(
            [sys.executable, "-c", START, *command, "--jobs", str(jobs)],
            stdout=subprocess.DEVNULL,
            stderr=progress,
        )


if __name__ == "__main__":
    sys.exit(main())
