"""Predicted against real duration of training runs and of a small study.

    python -m benchmarks.time_estimate --data out/dataset [--set-name red-0.40] [--recipe tiny] [--epochs 6]

Each run predicts its duration after its first steps (`predicted_seconds` in result.json), and the study before its first
run, from a few steps of each configuration. The ratios must be between 1/2 and 2.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

METHODS = ("vanilla", "mentormix", "dividemix")


def main() -> None:
    """Print a line per run, and one for the study, each when it is measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True)
    parser.add_argument("--set-name", default="red-0.40")
    parser.add_argument("--recipe", default="tiny")
    parser.add_argument("--epochs", type=int, default=6)
    arguments = parser.parse_args()
    common = ["--data", arguments.data, "--recipe", arguments.recipe, "--set", f"epochs={arguments.epochs}"]
    common += ["--set", f"dividemix.warmup_epochs={max(1, arguments.epochs // 4)}"]
    color, level = arguments.set_name.rsplit("-", 1)
    print(f"{'':18} {'predicted, s':>12} {'real, s':>8} {'ratio':>6}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for method in METHODS:
            words = ["--set-name", arguments.set_name, "--method", method, "--output", f"{folder}/{method}"]
            result = _call("train", *words, *common)
            _show(method, result["predicted_seconds"], result["seconds"])
        grid = ["--levels", level, "--colors", color, "--seeds", "0", "--methods", *METHODS]
        study = ["study", *grid, *common, "--output", f"{folder}/study"]
        planned = _call(*study, "--plan")["seconds_left"]
        _show(f"study of {len(METHODS)} runs", planned, sum(row["seconds"] for row in _call(*study)))


def _call(*words: str) -> Any:
    """Run a command of the trainer and return its JSON."""
    command = [sys.executable, "-m", "training", *words, "--json"]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent
    )
    return json.loads(done.stdout)


def _show(name: str, predicted: float, real: float) -> None:
    print(f"{name:18} {predicted:12.1f} {real:8.1f} {predicted / real:6.2f}", flush=True)


if __name__ == "__main__":
    main()
