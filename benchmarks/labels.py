"""Consensus from file to verdicts, beside crowd-kit in the same run: CPU time, memory, agreement of verdicts.

    python -m benchmarks.labels --votes votes.parquet          # answers yes, no, maybe; columns image_id, class_id, …
    python -m benchmarks.labels --kway                         # 200,000 synthetic votes on 100 classes
    python -m benchmarks.labels --synthetic 1000000 10000000   # growth with the number of votes, ours alone
    python -m benchmarks.labels --scale 1000000 10000000       # the label stage through Beam, on all cores
    python -m benchmarks.labels --scale 10000000 --set method=dawid-skene passes_above=0    # in passes

Each run is a process of its own, so that its peak memory is its own. Peers get the yes and no votes only, since their
methods have no answer that names no class; ours are timed on the same votes, and once more on all of them.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from benchmarks.rows import tell
from pipeline.jobs.ingest import IMAGES_PER_SHARD, SMALLEST_BUCKETS
from pipeline.keyed_hash import bucket, bucket_count, place
from pipeline.labels.consensus.matrix import VoteMatrix
from pipeline.labels.consensus.methods import METHODS, consensus
from pipeline.labels.consensus.settings import Settings
from pipeline.shards import directory
from pipeline.shards.parquet import write_shard
from schemas.retrieval import RETRIEVAL
from schemas.vote import VOTE

PEERS = {
    "majority": "MajorityVote",
    "dawid-skene": "DawidSkene",
    "one-coin": "OneCoinDawidSkene",
    "glad": "GLAD",
    "mace": "MACE",
    "wawa": "Wawa",
    "zero-based-skill": "ZeroBasedSkill",
}
PIECE = 250_000  # questions that are made up at once
ANSWERS = {"yes": 0, "no": 1, "maybe": 2, "unsure": 2}


def read(path: str, unsure: bool, questions: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes of items, workers, answers of a vote file; items in order of image and class."""
    table = parquet.read_table(path)
    image = table["image_id"].combine_chunks().dictionary_encode()
    image = image.indices.to_numpy().astype(np.int64)
    keys = image * (1 << 20) + table["class_id"].to_numpy()
    answer = table["answer"].combine_chunks().dictionary_encode()
    codes = np.array([ANSWERS[text] for text in answer.dictionary.to_pylist()])
    answers = codes[answer.indices.to_numpy()]
    workers = pd.factorize(table["worker_id"].to_numpy())[0]
    keep = np.ones(len(answers), bool) if unsure else answers < 2
    if questions is not None:
        keep &= pd.factorize(keys)[0] < questions
    # Items without a vote that is kept would count in our prior, and not in a peer's.
    return pd.factorize(keys[keep])[0], workers[keep], answers[keep]


def synthetic(votes: int, classes: int, each: int, workers: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Votes of workers with skills between 0.5 and 0.95."""
    rng = np.random.default_rng(0)
    items = np.repeat(np.arange(votes // each), each)
    voters = rng.integers(0, workers, len(items))
    truth = rng.integers(0, classes, votes // each)[items]
    right = rng.random(len(items)) < rng.uniform(0.5, 0.95, workers)[voters]
    return items, voters, np.where(right, truth, rng.integers(0, classes, len(items)))


def ours(method: str, load: dict, iterations: int | None) -> dict:
    start = time.process_time()
    items, workers, answers = read(**load["file"]) if "file" in load else synthetic(**load["synthetic"])
    loaded = time.process_time()
    classes = load.get("synthetic", {}).get("classes", 2)
    votes = VoteMatrix.of(items, workers, answers, classes, max(classes, int(answers.max()) + 1))
    settings = Settings() if iterations is None else Settings(iterations, tolerance=-np.inf)
    found = consensus(votes, method, settings)
    verdicts = found.verdicts(min_confidence=0)
    end = time.process_time()
    return {
        "seconds": end - (start if "file" in load else loaded),
        "iterations": len(found.log_likelihood),
        "verdicts": verdicts.tolist(),
        "posterior": found.probabilities[:, 0].tolist() if classes == 2 else [],
    }


def theirs(method: str, load: dict, iterations: int | None) -> dict:
    import crowdkit.aggregation as peers

    more = {} if iterations is None else {"n_iter": iterations}
    if iterations is not None and method in ("dawid-skene", "one-coin", "glad"):
        more["tol"] = -np.inf
    if method == "mace":
        more["n_restarts"] = 1
    start = time.process_time()
    if "file" in load:
        table = parquet.read_table(load["file"]["path"]).to_pandas()
        # Integer tasks: on strings crowd-kit's majority takes forty times as long.
        table["task"] = pd.factorize(table["image_id"])[0].astype(np.int64) * (1 << 20) + table["class_id"]
        order = table["task"].drop_duplicates()[: load["file"]["questions"]]
        table = table[table["task"].isin(order) & (table["answer"] != "maybe")]
        frame = table.rename(columns={"worker_id": "worker", "answer": "label"})[["task", "worker", "label"]]
        frame["label"] = frame["label"].astype(str)
        order = order[order.isin(frame["task"])]
        names = ["yes", "no"]
    else:
        columns = dict(zip(("task", "worker", "label"), synthetic(**load["synthetic"]), strict=True))
        frame = pd.DataFrame(columns)
        order, names = frame["task"].drop_duplicates(), list(range(load["synthetic"]["classes"]))
        start = time.process_time()
    peer = getattr(peers, PEERS[method])(**more)
    labels = peer.fit_predict(frame)
    end = time.process_time()
    chances = peer.probas_.reindex(order)
    return {
        "seconds": end - start,
        "iterations": len(getattr(peer, "loss_history_", ())),
        "verdicts": pd.Index(names).get_indexer(pd.Index(labels.reindex(order))).tolist(),
        "posterior": chances["yes"].tolist() if names == ["yes", "no"] else [],
    }


def measure(who: str, method: str, load: dict, iterations: int | None = None, limit: float = 900.0) -> dict:
    """One run in a process of its own; {"failed": …} where it does not end well."""
    job = json.dumps([who, method, load, iterations])
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.labels", "--job", job]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {limit:.0f} s"}
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1][:60]}
    return json.loads(done.stdout)


def row(name: str, one: dict, other: dict) -> str:
    """A line of the table: theirs, ours, ratio, agreement."""
    if "failed" in other or "failed" in one:
        shown = [f"{r['seconds']:.2f}" if "seconds" in r else r["failed"] for r in (other, one)]
        return f"| {name} | {shown[0]} | {shown[1]} | | | {one.get('mib', 0):.0f} | |"
    mine, peer = np.array(one["verdicts"]), np.array(other["verdicts"])
    decided = mine >= 0  # ties: crowd-kit takes the class that comes first
    same = f"{(mine == peer)[decided].mean():.5f}"
    if one["posterior"] and one["iterations"] == other["iterations"] > 0:
        same += f", posterior within {np.abs(np.subtract(one['posterior'], other['posterior'])).max():.1e}"
    iterations = f"{other['iterations'] or ''}/{one['iterations'] or ''}"
    return (
        f"| {name} | {other['seconds']:.2f} | {one['seconds']:.2f} | {other['seconds'] / one['seconds']:.1f} "
        f"| {iterations} | {other['mib']:.0f}/{one['mib']:.0f} | {same} |"
    )


def image_ids(numbers: np.ndarray) -> pa.Array:
    """Names of images by their numbers."""
    return pa.array(np.char.add("image-", np.char.zfill(numbers.astype(str), 9)))


def write_stage_input(folder: Path, votes: int) -> None:
    """What the label stage finds on disk: the table of images that ingest leaves, and files of ten million votes.

    Names are made where they are written: those of 25 million images would fill this process.
    """
    questions, names = votes // 4, np.array(["ant", "bee"])
    pieces = range(0, questions, PIECE)
    places = np.concatenate(
        [place(image_ids(np.arange(i, min(questions, i + PIECE))).to_pylist()) for i in pieces]
    )
    count = bucket_count(questions, IMAGES_PER_SHARD, SMALLEST_BUCKETS)
    order = np.argsort(places)
    ends = np.searchsorted(bucket(places[order], count), np.arange(count + 1))
    retrievals = str(folder / "out" / "ingest" / "retrievals")
    directory.open_for_writing(retrievals)
    shards = []
    for index in range(count):
        here = order[ends[index] : ends[index + 1]]
        rows = {
            "image_id": image_ids(here),
            "class_name": names[here % 2],
            "source": ["web"] * len(here),
        }
        table = RETRIEVAL.conform(pa.table(rows), retrievals)
        shards.append(
            write_shard(retrievals, directory.shard_name("part", index, count), RETRIEVAL.schema, [table])
        )
    directory.commit(retrievals, RETRIEVAL.name, [shard for shard in shards if shard], {"buckets": count})

    rng = np.random.default_rng(0)
    files = []
    for start in range(0, questions, 10 * PIECE):
        files.append(f"votes-{len(files)}.parquet")
        with parquet.ParquetWriter(
            folder / files[-1], pa.schema([(c, pa.string()) for c in VOTE.required])
        ) as file:
            for first in range(start, min(questions, start + 10 * PIECE), PIECE):
                numbers = np.arange(first, min(questions, first + PIECE))
                asked = np.repeat(numbers, 4)
                right = rng.random(len(asked)) < 0.8
                worker = (rng.integers(0, 1000, len(numbers))[:, None] + np.arange(4) * 250) % 1000
                columns = {
                    "image_id": image_ids(numbers).take(pa.array(asked - first)),
                    "class_name": names[asked % 2],
                    "worker_id": np.char.add("worker-", worker.ravel().astype(str)),
                    "answer": np.where((asked % 3 == 0) == right, "no", "yes"),
                }
                file.write_table(pa.table(columns, schema=file.schema))
    config = {
        "source": str(folder),
        "classes": names.tolist(),
        "clean": [],
        "test": [],
        "web": [],
        "votes": files,
    }
    (folder / "build.yaml").write_text(json.dumps(config))  # JSON is YAML


def scale(votes: int, settings: list[str]) -> str:
    """A line of the table: the label stage as a user runs it, and the largest memory of one of its processes."""
    with tempfile.TemporaryDirectory() as folder:
        # In another process: what this one holds would count as memory of those that it starts.
        subprocess.run(
            [sys.executable, "-m", "benchmarks.labels", "--job", json.dumps(["input", folder, votes])],
            check=True,
        )
        command = [sys.executable, "-m", "pipeline", "label", "--config", f"{folder}/build.yaml"]
        command += [part for setting in settings for part in ("--set", f"label.{setting}")]
        start = os.times()
        measured = [*command, "--output", f"{folder}/out"]
        subprocess.run(measured, check=True, stdout=subprocess.DEVNULL)
        end = os.times()
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    wall = end.elapsed - start.elapsed
    cpu = end.children_user + end.children_system - start.children_user - start.children_system
    return f"| {votes:,} | {wall:.0f} | {cpu:.0f} | {cpu / votes * 1e6:.1f} | {peak:.0f} |"


HEAD = """
| method | crowd-kit CPU s | ours CPU s | ratio | iterations | peak MiB | same verdict where ours decides |
|---|---:|---:|---:|---|---|---|"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--votes", help="Parquet file: image_id, class_id, worker_id, answer (yes, no, maybe)"
    )
    parser.add_argument("--questions", type=int, help="take only the first so many questions")
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--limit", type=float, default=900, help="seconds until a run is given up [900]")
    parser.add_argument("--kway", action="store_true", help="200,000 votes on 100 classes")
    parser.add_argument("--synthetic", nargs="*", type=int, default=[], help="numbers of votes, ours alone")
    parser.add_argument(
        "--scale", nargs="*", type=int, default=[], help="numbers of votes, in ascending order"
    )
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="KEY=VALUE", help="with --scale: what of label is set"
    )
    parser.add_argument("--job", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        who, *what = json.loads(arguments.job)
        if who == "input":
            write_stage_input(Path(what[0]), what[1])
            return
        method, load, iterations = what
        result = {"ours": ours, "theirs": theirs}[who](method, load, iterations)
        result["mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(result))
        return

    def show(line: str) -> None:
        print(line, flush=True)

    def compare(of: str, name: str, method: str, load: dict, iterations: int | None = None) -> None:
        one = measure("ours", method, load, iterations, arguments.limit)
        peer = measure("theirs", method, load, iterations, arguments.limit)
        show(row(name, one, peer))
        if "seconds" in one and "seconds" in peer:
            tell(
                f"{name}, {of}, file to verdicts",
                "CPU s",
                one["seconds"],
                "crowd-kit",
                peer["seconds"],
                False,
            )

    if arguments.votes:
        file = {"path": arguments.votes, "unsure": False, "questions": arguments.questions}
        which = f"votes on {Path(arguments.votes).parent.name}"
        show(HEAD)
        for method in arguments.methods:
            if method in PEERS:
                compare(which, method, method, {"file": file})
        if "dawid-skene" in arguments.methods:
            compare(which, "dawid-skene, 10 iterations each", "dawid-skene", {"file": file}, 10)
        if "mace" in arguments.methods:
            compare(which, "mace, 50 iterations each", "mace", {"file": file}, 50)
        show("\n| all votes, unsure ones too: ours | CPU s | iterations | peak MiB | yes | no | undecided |")
        show("|---|---:|---:|---:|---:|---:|---:|")
        items, _, answers = read(arguments.votes, True, arguments.questions)
        counts = np.bincount(items * 3 + answers, minlength=3 * (int(items.max()) + 1)).reshape(-1, 3)
        yes, no = ((2 * side > counts.sum(axis=1)).sum() for side in counts.T[:2])
        show(
            f"| strict majority, the stage's default | | | | {yes:,} | {no:,} | {len(counts) - yes - no:,} |"
        )
        for method in arguments.methods:
            one = measure("ours", method, {"file": {**file, "unsure": True}}, None, arguments.limit)
            tally = [one["verdicts"].count(code) for code in (0, 1, -1)]
            counts = " | ".join(f"{n:,}" for n in tally)
            show(f"| {method} | {one['seconds']:.2f} | {one['iterations']} | {one['mib']:.0f} | {counts} |")
    if arguments.kway:
        load = {"synthetic": {"votes": 200_000, "classes": 100, "each": 4, "workers": 500}}
        show("\n200,000 votes, 50,000 items, 100 classes, 500 workers" + HEAD)
        for method in ("dawid-skene", "one-coin"):
            if method in arguments.methods:
                compare("200,000 votes of 100 classes", method, method, load)
    if arguments.synthetic:
        show("\n| votes | method | CPU s | s per million votes | peak MiB |\n|---:|---|---:|---:|---:|")
    for votes in arguments.synthetic:
        load = {"synthetic": {"votes": votes, "classes": 2, "each": 4, "workers": 1000}}
        for method in arguments.methods:
            one = measure("ours", method, load, 10, arguments.limit)
            seconds = one["seconds"]
            show(f"| {votes:,} | {method} | {seconds:.1f} | {seconds / votes * 1e6:.2f} | {one['mib']:.0f} |")
    if arguments.scale:
        show(f"\nlabel stage, {' '.join(arguments.set) or 'majority'}, all cores\n")
        show(
            "| votes | wall s | CPU s | CPU s per million votes | largest process, MiB |\n|---:|---:|---:|---:|---:|"
        )
    for votes in arguments.scale:
        show(scale(votes, arguments.set))


if __name__ == "__main__":
    main()
