"""Two studies share a grid; SIGKILL one of them at random moments, start it again each time, and count.

    python -m benchmarks.kill_study --kills 20

No run may be lost, none may finish twice, and the tables must be those of an undisturbed study; exit code 1 if not.
Some 12 CPU minutes for twenty kills.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.training.conftest import striped, write_set
from tests.training.test_study import timeless

STUDY = """
levels: [0.0, 0.4]
colors: [blue]
methods: [vanilla, mixup, mentormix]
recipe: tiny
set: {epochs: 60, batch_size: 32, precision: fp32, network: {width: 8}}
"""
START = """
import sys, torch
from training import trainer
from training.__main__ import main
torch.set_num_threads(1)
trainer.CHECKPOINT_SECONDS = 0.5
sys.exit(main(sys.argv[1:]))
"""


def main() -> int:
    """The tables of two studies that share a grid, one killed again and again, beside those of one; 1 if they differ."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--jobs", type=int, default=1, help="of each study; from 2 on the study is killed, not its workers"
    )
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as place:
        data, alone, shared = (Path(place) / name for name in ("data", "alone", "shared"))
        for level in (0.0, 0.4):
            write_set(data / f"blue-{level:.2f}", striped(960, level, seed=1), noise_level=level)
        write_set(data / "test", striped(60, 0.0, seed=2), color=None)
        (Path(place) / "study.yaml").write_text(STUDY)

        def start(output: Path) -> subprocess.Popen[bytes]:
            call = ["study", "--data", str(data), "--output", str(output), "--config", f"{place}/study.yaml"]
            jobs = ["--jobs", str(arguments.jobs)] if output == shared else []
            return subprocess.Popen(
                [sys.executable, "-c", START, *call, *jobs],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

        assert start(alone).wait() == 0
        steady, victim, kills = start(shared), start(shared), 0
        while kills < arguments.kills and steady.poll() is None:
            while not has_claim(shared, victim.pid) and victim.poll() is None:
                time.sleep(0.02)
            time.sleep(chance.uniform(0, 4))
            if victim.poll() is not None:
                break
            victim.kill()
            victim.wait()
            kills += 1
            print(f"kill {kills}: {len(list(shared.glob('runs/*/result.json')))} runs finished", flush=True)
            victim = start(shared)
        codes = steady.wait(), victim.wait()
        ends = Counter((claim["run"], claim["state"]) for claim in claims(shared))
        same = timeless(shared) == timeless(alone)
    runs = {run for run, _ in ends}
    twice = [run for run in runs if ends[run, "finished"] > 1]
    taken = sum(count for (_, state), count in ends.items() if state != "finished")
    print(
        f"{len(runs)} runs, {kills} kills, {taken} claims taken over or given up; finished twice: {len(twice)}"
    )
    print(f"exit codes {codes}; tables equal those of an undisturbed study: {same}")
    return 0 if same and not twice and codes == (0, 0) else 1


def claims(output: Path) -> list[dict[str, object]]:
    found = []
    for file in output.glob("claims/*/*.json"):
        if text := file.read_text():
            found.append({**json.loads(text), "run": file.parent.name})
    return found


def has_claim(output: Path, pid: int) -> bool:
    return any(claim["study"][0] == pid and claim["state"] == "training" for claim in claims(output))  # type: ignore[index]


if __name__ == "__main__":
    sys.exit(main())
