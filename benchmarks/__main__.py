"""Run the benchmarks that have a peer, and write docs/results/benchmarks.md.

    make bench                                  # makes .venv-peers with the peers, and calls
    python -m benchmarks --peers .venv-peers/bin/python [--only dedupe reader] [--votes votes.parquet]

Takes about half an hour on two cores, which nothing else should use. Benchmarks that have no peer in the same run, or that need
data of their own (audit, altered_copies, true_noise, time_estimate and others), are commands of their own: see their files.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.rows import ROWS, processor

PAGE = Path(__file__).parent.parent / "docs" / "results" / "benchmarks.md"
PEERS = ("img2dataset", "faiss-cpu", "usearch", "spdl", "grain", "pylance", "mosaicml-streaming")
VERSIONS = (
    "apache-beam",
    "pyarrow",
    "numpy",
    "pillow",
    "torch",
    "crowd-kit",
    "datasets",
    "webdataset",
    "imagehash",
)

HEAD = (
    "| benchmark | what | unit | ours | peer | theirs | ours is better by |",
    "|---|---|---|---:|---|---:|---:|",
)
ABOUT = (
    "# Benchmarks against other tools",
    "",
    "Written by `make bench`. Both numbers of a row are from the same run. The last column is ours divided by theirs, or",
    "theirs divided by ours where less is better; above 1, ours is better. The module of each benchmark describes what it",
    "measures; [what limits the ratios](#what-limits-the-ratios) is below.",
    "",
)


def plan(peers: str, votes: str | None, work: str) -> dict[str, list[str]]:
    """The command of each benchmark; `work` is a folder for what they write."""
    # Without GLAD, for which crowd-kit needs a quarter of an hour and more: docs/results/aggregation.md.
    given_votes = ["--votes", votes] if votes else ["--synthetic", "200000"]
    return {
        "ingest": ["--img2dataset", peers, "--size", "10000", "--repeats", "3"],
        "decode": ["--images", "40", "--rounds", "11"],
        "aggregation": [*given_votes, "--methods", "majority", "dawid-skene", "mace"],
        "dedupe": [
            "--peers",
            peers,
            "--only",
            "ours",
            "faiss flat",
            "faiss multi-hash",
            "usearch",
            "--threads",
            str(os.cpu_count()),
        ],
        "split": ["--output", f"{work}/split"],
        "reader": ["--peers", peers],
        "engines": ["--sizes", "1000", "10000", "--repeats", "2"],
        "embed": ["--images", "512", "--network", "tf_efficientnet_lite0", "--size", "96"],
        "step": [
            *("--network", "small_cnn", "--width", "32", "--threads", "1"),
            *("--methods", "vanilla", "mixup", "mentornet", "mentormix"),
        ],
    }


def machine() -> str:
    """What the numbers were made on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    result = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in VERSIONS)
    return f"{os.cpu_count()} cores of {processor()}, {memory:.0f} GiB, Python {platform.python_version()}; {result}"


def peers_of(python: str) -> str:
    """The versions of the peers that have an environment of their own."""
    code = "import sys; from importlib.metadata import version as v; print(', '.join(f'{n} {v(n)}' for n in sys.argv[1:]))"
    return subprocess.run(
        [python, "-c", code, *PEERS], check=True, capture_output=True, text=True
    ).stdout.strip()


def number(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def lines(name: str, rows: list[dict]) -> list[str]:
    """One line for each thing that a benchmark has measured."""
    return [
        f"| {name} | {row['what']} | {row['unit']} | {number(row['ours'])} | {row['peer']} | "
        f"{number(row['theirs'])} | {row['ratio']:.2f}× |"
        for row in rows
    ]


def lines_on_page(name: str) -> list[str]:
    """What the page has of a benchmark."""
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    return [line for line in text.splitlines() if line.startswith(f"| {name} |")]


def limits_on_page() -> str:
    """Return the last section of the page, which is written by hand."""
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    _, heading, section = text.partition("\n## What limits the ratios\n")
    return heading + section


def run(name: str, arguments: list[str], rows: Path) -> list[dict]:
    """Run one benchmark, show what it prints, and return its rows."""
    rows.unlink(missing_ok=True)
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    print(f"\n$ python -m benchmarks.{name} {' '.join(arguments)}", flush=True)
    start = time.monotonic()
    done = subprocess.run(command, env=os.environ | {ROWS: str(rows)}, check=False)
    print(f"{name}: exit code {done.returncode}, {time.monotonic() - start:.0f} s", flush=True)
    if done.returncode:
        return []
    return [json.loads(line) for line in rows.read_text(encoding="utf-8").split("\n") if line]


def main() -> int:
    """Run the benchmarks that have a peer, ours beside theirs, and write docs/results/benchmarks.md; 1 if one failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", required=True, metavar="PYTHON", help="the Python that has the peers")
    parser.add_argument(
        "--votes", metavar="FILE", help="votes of workers, as benchmarks/aggregation.py takes them"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=tuple(plan("", None, "")),
        help="some of the benchmarks; the page keeps what it has of the others",
    )
    given = parser.parse_args()
    rows: dict[str, list[dict]] = {}
    failed = []
    with tempfile.TemporaryDirectory(prefix="bench-") as work:
        commands = plan(given.peers, given.votes, work)
        for name in given.only or commands:
            rows[name] = run(name, commands[name], Path(work) / "rows.jsonl")
            if not rows[name]:
                failed.append(name)
    table = [*HEAD]
    for name in commands:
        table += lines(name, rows[name]) if name in rows else lines_on_page(name)
    print("\n" + "\n".join(table))
    if not failed:
        page = [
            *ABOUT,
            f"Machine: {machine()}.",
            f"Peers in an environment of their own: {peers_of(given.peers)}.",
        ]
        PAGE.write_text("\n".join([*page, "", *table, ""]) + limits_on_page(), encoding="utf-8")
        print(f"\n{PAGE}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
