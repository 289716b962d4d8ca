"""Consensus from file to verdicts, beside crowd-kit in the same run: CPU time, memory, agreement of verdicts.

    python -m benchmarks.aggregation --votes votes.parquet          # answers yes, no, maybe; columns image_id, class_id, …
    python -m benchmarks.aggregation --kway                         # 200,000 synthetic votes on 100 classes
    python -m benchmarks.aggregation --synthetic 1000000 10000000   # growth with the number of votes, ours alone
    python -m benchmarks.aggregation --scale 1000000 10000000       # the aggregate stage through Beam, on all cores
    python -m benchmarks.aggregation --scale 10000000 --set method=dawid-skene distribute_above=0    # in passes

Each run is a process of its own, so that its peak memory is its own. Peers get the yes and no votes only, since their
methods have no answer that names no class; ours are timed on the same votes, and once more on all of them.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from pyarrow import parquet

from benchmarks.aggregate_stage import scale
from benchmarks.rows import tell
from pipeline.aggregate.methods.convergence import MethodSettings
from pipeline.aggregate.methods.registry import METHODS, estimate_posterior
from pipeline.aggregate.methods.vote_matrix import VoteMatrix

PEERS = {
    "majority": "MajorityVote",
    "dawid-skene": "DawidSkene",
    "one-coin": "OneCoinDawidSkene",
    "glad": "GLAD",
    "mace": "MACE",
    "wawa": "Wawa",
    "zero-based-skill": "ZeroBasedSkill",
}
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
    settings = MethodSettings() if iterations is None else MethodSettings(iterations, tolerance=-np.inf)
    found = estimate_posterior(votes, method, settings)
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
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.aggregation", "--job", job]
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


HEAD = """
| method | crowd-kit CPU s | ours CPU s | ratio | iterations | peak MiB | same verdict where ours decides |
|---|---:|---:|---:|---|---|---|"""


def show(line: str) -> None:
    print(line, flush=True)


def compare(of: str, name: str, method: str, load: dict, limit: float, iterations: int | None = None) -> None:
    """Ours and crowd-kit's, one after the other, as a line of the table under HEAD."""
    one = measure("ours", method, load, iterations, limit)
    peer = measure("theirs", method, load, iterations, limit)
    show(row(name, one, peer))
    if "seconds" in one and "seconds" in peer:
        what = f"{name}, {of}, file to verdicts"
        tell(what, "CPU s", one["seconds"], "crowd-kit", peer["seconds"], more_is_better=False)


def compare_on_votes(path: str, questions: int | None, methods: list[str], limit: float) -> None:
    """All methods on a vote file: beside crowd-kit on yes and no, then alone with the unsure votes."""
    load = {"file": {"path": path, "unsure": False, "questions": questions}}
    which = f"votes on {Path(path).parent.name}"
    show(HEAD)
    for method in methods:
        if method in PEERS:
            compare(which, method, method, load, limit)
    for method, iterations in (("dawid-skene", 10), ("mace", 50)):
        if method in methods:
            compare(which, f"{method}, {iterations} iterations each", method, load, limit, iterations)
    show("\n| all votes, unsure ones too: ours | CPU s | iterations | peak MiB | yes | no | undecided |")
    show("|---|---:|---:|---:|---:|---:|---:|")
    items, _, answers = read(path, True, questions)
    counts = np.bincount(items * 3 + answers, minlength=3 * (int(items.max()) + 1)).reshape(-1, 3)
    yes, no = ((2 * side > counts.sum(axis=1)).sum() for side in counts.T[:2])
    show(f"| strict majority, the stage's default | | | | {yes:,} | {no:,} | {len(counts) - yes - no:,} |")
    for method in methods:
        one = measure("ours", method, {"file": {**load["file"], "unsure": True}}, None, limit)
        tally = " | ".join(f"{one['verdicts'].count(code):,}" for code in (0, 1, -1))
        show(f"| {method} | {one['seconds']:.2f} | {one['iterations']} | {one['mib']:.0f} | {tally} |")


def compare_on_many_classes(methods: list[str], limit: float) -> None:
    """The methods that know more than two classes, on synthetic votes."""
    load = {"synthetic": {"votes": 200_000, "classes": 100, "each": 4, "workers": 500}}
    show("\n200,000 votes, 50,000 items, 100 classes, 500 workers" + HEAD)
    for method in ("dawid-skene", "one-coin"):
        if method in methods:
            compare("200,000 votes of 100 classes", method, method, load, limit)


def show_growth(numbers: list[int], methods: list[str], limit: float) -> None:
    """Ten iterations of each method on ever more synthetic votes, ours alone."""
    show("\n| votes | method | CPU s | s per million votes | peak MiB |\n|---:|---|---:|---:|---:|")
    for votes in numbers:
        load = {"synthetic": {"votes": votes, "classes": 2, "each": 4, "workers": 1000}}
        for method in methods:
            one = measure("ours", method, load, 10, limit)
            seconds = one["seconds"]
            show(f"| {votes:,} | {method} | {seconds:.1f} | {seconds / votes * 1e6:.2f} | {one['mib']:.0f} |")


def show_stage(numbers: list[int], settings: list[str]) -> None:
    """The aggregate stage through Beam on ever more votes."""
    show(f"\nlabel stage, {' '.join(settings) or 'majority'}, all cores\n")
    show("| votes | wall s | CPU s | CPU s per million votes | largest process, MiB |")
    show("|---:|---:|---:|---:|---:|")
    for votes in numbers:
        show(scale(votes, settings))


def do_job(job: str) -> None:
    """One run of `measure`, in the process that it has started."""
    who, method, load, iterations = json.loads(job)
    result = {"ours": ours, "theirs": theirs}[who](method, load, iterations)
    result["mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(result))


def main() -> None:
    """Consensus of votes: ours beside crowd-kit; ours alone by number of votes, in memory or through Beam."""
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
        do_job(arguments.job)
    elif not (arguments.votes or arguments.kway or arguments.synthetic or arguments.scale):
        parser.error("give one of --votes, --kway, --synthetic, --scale")
    if arguments.votes:
        compare_on_votes(arguments.votes, arguments.questions, arguments.methods, arguments.limit)
    if arguments.kway:
        compare_on_many_classes(arguments.methods, arguments.limit)
    if arguments.synthetic:
        show_growth(arguments.synthetic, arguments.methods, arguments.limit)
    if arguments.scale:
        show_stage(arguments.scale, arguments.set)


if __name__ == "__main__":
    main()
