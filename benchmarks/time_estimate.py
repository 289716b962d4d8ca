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

from common.text_table import aligned

METHODS = ("vanilla", "mentormix", "dividemix")


def main() -> None:
    """Print a line per run, and one for the study."""
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
    rows = [["run", "predicted, s", "real, s", "ratio"]]
    with tempfile.TemporaryDirectory() as folder:
        for method in METHODS:
            result = _call(
                "train",
                "--set-name",
                arguments.set_name,
                "--method",
                method,
                "--output",
                f"{folder}/{method}",
                *common,
            )
            rows.append(_row(method, result["predicted_seconds"], result["seconds"]))
        color, level = arguments.set_name.rsplit("-", 1)
        study = [
            "study",
            "--levels",
            level,
            "--colors",
            color,
            "--seeds",
            "0",
            "--methods",
            *METHODS,
            *common,
        ]
        study += ["--output", f"{folder}/study"]
        planned = _call(*study, "--plan")["seconds_left"]
        real = sum(row["seconds"] for row in _call(*study))
        rows.append(_row(f"study of {len(METHODS)} runs", planned, real))
    print("\n".join(aligned(rows)))


def _call(*words: str) -> dict | list:  # type: ignore[type-arg]
    done = subprocess.run(
        [sys.executable, "-m", "training", *words, "--json"],
        check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent,
    )  # fmt: skip
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def _row(name: str, predicted: float, real: float) -> list[str]:
    return [name, f"{predicted:.1f}", f"{real:.1f}", f"{predicted / real:.2f}"]


if __name__ == "__main__":
    main()
