"""`make demo`: draw a small synthetic dataset and run the real commands on it, from web images and votes to a plot."""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.command_line import escape_unencodable
from demo import summary
from demo.evaluation import evaluate
from demo.web import serve
from demo.world import FULL, QUICK, DemoWorld, Size, make, write_lists

BUILD = Path("configs/demo.yaml")
STUDY = Path("demo/study.yaml")
QUICK_BUILD = ["--set", "noise.levels=[0, 0.4]"]
JOBS = ["--jobs", "2"]
QUICK_STUDY = ["--levels", "0", "0.4", "--set", "epochs=1", "--set", "network.width=4"]  # in one process


class StepFailedError(Exception):
    """A command of the demo ended with another exit code than 0."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo and return the exit code: 0 success, 1 failure."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="output folder of the demo")
    parser.add_argument(
        "--quick", action="store_true", help="use a much smaller dataset, to check that all parts work"
    )
    arguments = parser.parse_args(argv)
    if argv is None:  # started as a program
        escape_unencodable()
    started = time.monotonic()
    try:
        run(arguments.output, quick=arguments.quick)
    except StepFailedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"done in {time.monotonic() - started:.0f} s")
    return 0


def run(output: Path, *, quick: bool) -> None:
    """Draw the data and run all commands below `output`."""
    size = QUICK if quick else FULL
    world = _draw(size, output / "world")
    with serve(world.pages) as base_url:
        write_lists(world, base_url, size.workers)
        source = ["--set", f"source={world.folder}", *(QUICK_BUILD if quick else [])]
        _command("pipeline", "build", "--config", str(BUILD), *source, "--output", str(output))
    _command("pipeline", "verify", str(output / "dataset"))
    study = ["--data", str(output / "dataset"), "--output", str(output / "study"), "--config", str(STUDY)]
    text = _command("training", "study", *study, "--json", *(QUICK_STUDY if quick else JOBS))
    rows: list[dict[str, Any]] = json.loads(text)
    _command("training", "plot", str(output / "study"))

    page = summary.write(output, size, evaluate(world.candidates, output), rows)
    print(page.text)
    print(f"dataset  {output / 'dataset'}")
    print(f"plot     {output / 'study' / 'figures' / 'accuracy.png'}")
    print(f"summary  {page.path}")


def _draw(size: Size, folder: Path) -> DemoWorld:
    began = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    world = make(size, folder)
    seconds = time.monotonic() - began
    print(
        f"$ drew the world: {len(world.candidates):,} web candidates, clean and test images in {folder} ({seconds:.1f} s)",
        flush=True,
    )
    return world


def _command(module: str, *arguments: str) -> str:
    """Run `python -m MODULE ARGUMENTS` and return its output, which is printed unless it is JSON."""
    print(f"$ python -m {module} {' '.join(arguments)}", flush=True)
    began = time.monotonic()
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603
    if "--json" not in arguments:
        print(done.stdout, end="")
    if done.returncode:
        raise StepFailedError(f"python -m {module} {' '.join(arguments)}: exit code {done.returncode}")
    print(f"  ({time.monotonic() - began:.1f} s)", flush=True)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
