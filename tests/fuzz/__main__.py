"""Fuzz the code that reads strangers' bytes: `python -m tests.fuzz [TARGET …] [--seconds N]`, or `make fuzz`.

The corpus of each target grows in OUTPUT/TARGET/corpus, so that a later run continues it. An input that breaks the property
of its target is kept in OUTPUT/TARGET, and `python -m tests.fuzz TARGET --replay FILE` runs it again without atheris.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import targets

MAX_BYTES = 16_384  # of an input; seeds of images and Parquet files have up to 11,000
TIMEOUT_SECONDS = 30  # of one input; a decoding process of the pipeline is killed after ingest.decode_seconds
MAX_MEGABYTES = 3072  # of the fuzzing process
_COVERAGE = re.compile(r"cov: (\d+) ")
_EXECUTIONS = re.compile(r"stat::number_of_executed_units:\s+(\d+)")


@dataclass(frozen=True)
class Result:
    """What a run of a target found. covered: numbers of code edges that the seeds and that all inputs reach."""

    executions: int
    covered: tuple[int, int]
    crashes: list[Path]
    code: int


def main(argv: list[str] | None = None) -> int:
    """Fuzz targets one after another; return 1 if a property does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help=f"one of {', '.join(targets.NAMES)}; default: all"
    )
    parser.add_argument("--seconds", type=int, default=60, help="time for each target (default: 60)")
    parser.add_argument("--output", type=Path, default=Path("out/fuzz"), help="folder of corpora and crashes")
    parser.add_argument("--replay", type=Path, help="run one input of one target, and exit")
    arguments = parser.parse_args(argv)
    names = arguments.targets or list(targets.NAMES)
    if unknown := sorted(set(names) - set(targets.NAMES)):
        parser.error(f"unknown target {unknown[0]!r}; the targets are {', '.join(targets.NAMES)}")
    if arguments.replay:
        targets.load(names[0]).check(arguments.replay.read_bytes())
        return 0
    failed = []
    for name in names:
        result = fuzz(name, arguments.seconds, arguments.output / name)
        before, after = result.covered
        print(f"{name}: {result.executions:,} executions, {before:,} → {after:,} edges", flush=True)
        if result.crashes or result.code:
            failed.append(name)
            print(
                f"{name}: failed; run python -m tests.fuzz {name} --replay FILE with one of",
                *result.crashes or ["its log"],
            )
    return int(bool(failed))


def fuzz(name: str, seconds: int, output: Path) -> Result:
    """Fuzz a target in a process of its own; its log is OUTPUT/log.txt."""
    corpus, seeds = output / "corpus", output / "seeds"
    for folder in (corpus, seeds):
        folder.mkdir(parents=True, exist_ok=True)
    target = targets.load(name)
    for number, data in enumerate(target.seeds()):
        (seeds / f"{number:03d}").write_bytes(data)
    dictionary = output / "words.txt"
    dictionary.write_text("".join(f'"{_escaped(word)}"\n' for word in getattr(target, "WORDS", ())))
    flags = (
        f"-max_total_time={seconds}", f"-max_len={MAX_BYTES}", f"-timeout={TIMEOUT_SECONDS}", f"-rss_limit_mb={MAX_MEGABYTES}",
        f"-artifact_prefix={output}/", f"-dict={dictionary}", "-print_final_stats=1", "-len_control=0", "-use_value_profile=1",
    )  # fmt: skip
    started = time.time()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder, (output / "log.txt").open("w") as log:
        done = subprocess.run(
            [sys.executable, "-m", "tests.fuzz.fuzzer", name, *flags, str(corpus), str(seeds)],
            stdout=log, stderr=log, env={**os.environ, "TMPDIR": folder}, check=False,
        )  # fmt: skip
    text = (output / "log.txt").read_text(errors="replace")
    covered = [int(number) for number in _COVERAGE.findall(text)] or [0]
    counted = _EXECUTIONS.search(text)
    crashes = [
        path
        for kind in ("crash", "timeout", "oom")
        for path in output.glob(f"{kind}-*")
        if path.stat().st_mtime >= started
    ]
    return Result(int(counted[1]) if counted else 0, (covered[0], covered[-1]), crashes, done.returncode)


def _escaped(word: bytes) -> str:
    """Return a word in the syntax of libFuzzer's dictionaries."""
    return "".join(
        chr(byte) if 0x20 <= byte < 0x7F and byte not in b'"\\' else f"\\x{byte:02X}" for byte in word
    )


if __name__ == "__main__":
    sys.exit(main())
