"""Aggregation of votes from file to verdicts, next to crowd-kit in the same run: CPU time, memory, equal verdicts.

    python -m benchmarks.aggregation --votes votes.parquet        # answers yes, no, maybe; columns image_id, class_id, …
    python -m benchmarks.aggregation --synthetic 200000           # synthetic yes/no votes next to crowd-kit
    python -m benchmarks.aggregation --growth 1000000 10000000    # time by the number of votes, without a peer
    python -m benchmarks.aggregation --stage 1000000 10000000     # the aggregate stage through Beam, on all cores
    python -m benchmarks.aggregation --stage 10000000 --set method=dawid-skene distribute_above=0    # one job per iteration

Each run has its own process, so its peak memory can be measured. crowd-kit gets the yes and no votes only, since its
methods have no answer without a class; the project's methods are timed on the same votes, and again on all votes.
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

from benchmarks.aggregate_stage import measure_stage
from benchmarks.rows import record
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
Codes = tuple[np.ndarray, np.ndarray, np.ndarray]


def read_votes(path: str, unsure: bool, questions: int | None) -> Codes:
    """Return codes of items, workers and answers of a vote file; items are in order of image and class."""
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
    # Items without a vote would count in the prior here, but not in that of crowd-kit.
    return pd.factorize(keys[keep])[0], workers[keep], answers[keep]


def synthetic_votes(votes: int, workers: int = 1000, votes_per_item: int = 4) -> Codes:
    """Return codes of yes and no votes of workers who know the answer in 0 to 90 % of the cases and guess otherwise."""
    rng = np.random.default_rng(0)
    items = np.repeat(np.arange(votes // votes_per_item), votes_per_item)
    voters = rng.integers(0, workers, len(items))
    truth = rng.integers(0, 2, votes // votes_per_item)[items]
    knows = rng.random(len(items)) < rng.uniform(0.0, 0.9, workers)[voters]
    return items, voters, np.where(knows, truth, rng.integers(0, 2, len(items)))


def run_ours(method: str, source: dict, iterations: int | None) -> dict:
    start = time.process_time()
    items, workers, answers = (
        read_votes(**source["file"]) if "file" in source else synthetic_votes(**source["synthetic"])
    )
    loaded = time.process_time()
    votes = VoteMatrix.of(items, workers, answers, 2, max(2, int(answers.max()) + 1))
    settings = MethodSettings() if iterations is None else MethodSettings(iterations, tolerance=-np.inf)
    posterior = estimate_posterior(votes, method, settings)
    verdicts = posterior.verdicts(min_confidence=0)
    end = time.process_time()
    return {
        "seconds": end - (start if "file" in source else loaded),
        "iterations": len(posterior.log_likelihood),
        "verdicts": verdicts.tolist(),
        "posterior": posterior.probabilities[:, 0].tolist(),
    }


def run_crowd_kit(method: str, source: dict, iterations: int | None) -> dict:
    import crowdkit.aggregation as peers

    options: dict[str, float] = {} if iterations is None else {"n_iter": iterations}
    if iterations is not None and method in ("dawid-skene", "one-coin", "glad"):
        options["tol"] = -np.inf
    if method == "mace":
        options["n_restarts"] = 1
    start = time.process_time()
    if "file" in source:
        table = parquet.read_table(source["file"]["path"]).to_pandas()
        # Integer tasks: with strings, crowd-kit's majority takes forty times as long.
        table["task"] = pd.factorize(table["image_id"])[0].astype(np.int64) * (1 << 20) + table["class_id"]
        order = table["task"].drop_duplicates()[: source["file"]["questions"]]
        table = table[table["task"].isin(order) & (table["answer"] != "maybe")]
        frame = table.rename(columns={"worker_id": "worker", "answer": "label"})[["task", "worker", "label"]]
        frame["label"] = frame["label"].astype(str)
        order = order[order.isin(frame["task"])]
    else:
        columns = dict(zip(("task", "worker", "label"), synthetic_votes(**source["synthetic"]), strict=True))
        frame = pd.DataFrame(columns)
        frame["label"] = np.array(["yes", "no"])[frame["label"]]
        order = frame["task"].drop_duplicates()
        start = time.process_time()
    peer = getattr(peers, PEERS[method])(**options)
    labels = peer.fit_predict(frame)
    end = time.process_time()
    return {
        "seconds": end - start,
        "iterations": len(getattr(peer, "loss_history_", ())),
        "verdicts": pd.Index(["yes", "no"]).get_indexer(pd.Index(labels.reindex(order))).tolist(),
        "posterior": peer.probas_.reindex(order)["yes"].tolist(),
    }


def measure(
    runner: str, method: str, source: dict, iterations: int | None = None, limit: float = 900.0
) -> dict:
    """Run a method in a process; return its result, or {"failed": reason}."""
    job = json.dumps([runner, method, source, iterations])
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.aggregation", "--job", job]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {limit:.0f} s"}
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1][:60]}
    return json.loads(done.stdout)


def table_row(name: str, ours: dict, peer: dict) -> str:
    if "failed" in peer or "failed" in ours:
        shown = [f"{run['seconds']:.2f}" if "seconds" in run else run["failed"] for run in (peer, ours)]
        return f"| {name} | {shown[0]} | {shown[1]} | | | {ours.get('mib', 0):.0f} | |"
    our_verdicts, peer_verdicts = np.array(ours["verdicts"]), np.array(peer["verdicts"])
    decided = our_verdicts >= 0  # on a tie crowd-kit takes the class that comes first
    same = f"{(our_verdicts == peer_verdicts)[decided].mean():.5f}"
    if ours["iterations"] == peer["iterations"] > 0:
        difference = np.abs(np.subtract(ours["posterior"], peer["posterior"])).max()
        same += f", posterior within {difference:.1e}"
    iterations = f"{peer['iterations'] or ''}/{ours['iterations'] or ''}"
    return (
        f"| {name} | {peer['seconds']:.2f} | {ours['seconds']:.2f} | {peer['seconds'] / ours['seconds']:.1f} "
        f"| {iterations} | {peer['mib']:.0f}/{ours['mib']:.0f} | {same} |"
    )


HEAD = """
| method | crowd-kit CPU s | ours CPU s | ratio | iterations | peak MiB | same verdict where ours decides |
|---|---:|---:|---:|---|---|---|"""


def show(line: str) -> None:
    print(line, flush=True)


def compare(
    votes: str, name: str, method: str, source: dict, limit: float, iterations: int | None = None
) -> None:
    """Run a method of this project and crowd-kit's; print a row of the table under HEAD."""
    ours = measure("ours", method, source, iterations, limit)
    peer = measure("crowd-kit", method, source, iterations, limit)
    show(table_row(name, ours, peer))
    if "seconds" in ours and "seconds" in peer:
        what = f"{name}, {votes}, file to verdicts"
        record(what, "CPU s", ours["seconds"], "crowd-kit", peer["seconds"], more_is_better=False)


def compare_on_file(path: str, questions: int | None, methods: list[str], limit: float) -> None:
    """Compare the methods on the yes and no votes of a file, then run them on all of its votes."""
    source = {"file": {"path": path, "unsure": False, "questions": questions}}
    votes = f"votes on {Path(path).parent.name}"
    show(HEAD)
    for method in methods:
        if method in PEERS:
            compare(votes, method, method, source, limit)
    for method, iterations in (("dawid-skene", 10), ("mace", 50)):
        if method in methods:
            compare(votes, f"{method}, {iterations} iterations each", method, source, limit, iterations)
    show("\n| all votes, with unsure votes: ours | CPU s | iterations | peak MiB | yes | no | undecided |")
    show("|---|---:|---:|---:|---:|---:|---:|")
    items, _, answers = read_votes(path, True, questions)
    counts = np.bincount(items * 3 + answers, minlength=3 * (int(items.max()) + 1)).reshape(-1, 3)
    yes, no = ((2 * side > counts.sum(axis=1)).sum() for side in counts.T[:2])
    show(f"| strict majority, the default | | | | {yes:,} | {no:,} | {len(counts) - yes - no:,} |")
    for method in methods:
        run = measure("ours", method, {"file": {**source["file"], "unsure": True}}, None, limit)
        tally = " | ".join(f"{run['verdicts'].count(code):,}" for code in (0, 1, -1))
        show(f"| {method} | {run['seconds']:.2f} | {run['iterations']} | {run['mib']:.0f} | {tally} |")


def compare_on_synthetic(votes: int, methods: list[str], limit: float) -> None:
    """Compare the methods on synthetic votes."""
    show(HEAD)
    for method in methods:
        if method in PEERS:
            compare(f"{votes:,} synthetic votes", method, method, {"synthetic": {"votes": votes}}, limit)


def show_growth(numbers: list[int], methods: list[str], limit: float) -> None:
    """Run ten iterations of each method on synthetic votes, without a peer."""
    show("\n| votes | method | CPU s | s per million votes | peak MiB |\n|---:|---|---:|---:|---:|")
    for votes in numbers:
        for method in methods:
            run = measure("ours", method, {"synthetic": {"votes": votes}}, 10, limit)
            seconds = run["seconds"]
            show(f"| {votes:,} | {method} | {seconds:.1f} | {seconds / votes * 1e6:.2f} | {run['mib']:.0f} |")


def show_stage(numbers: list[int], settings: list[str]) -> None:
    """Run the aggregate stage through Beam."""
    show(f"\naggregate stage, {' '.join(settings) or 'majority'}, all cores\n")
    show("| votes | wall s | CPU s | CPU s per million votes | largest process, MiB |")
    show("|---:|---:|---:|---:|---:|")
    for votes in numbers:
        show(measure_stage(votes, settings))


def do_job(job: str) -> None:
    """Run the job of `measure` in the process that it started."""
    runner, method, source, iterations = json.loads(job)
    result = {"ours": run_ours, "crowd-kit": run_crowd_kit}[runner](method, source, iterations)
    result["mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(result))


def main() -> None:
    """Compare aggregation methods with crowd-kit, or measure them by the number of votes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--votes", help="Parquet file: image_id, class_id, worker_id, answer (yes, no, maybe)"
    )
    parser.add_argument("--questions", type=int, help="number of questions to take from the start of --votes")
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--limit", type=float, default=900, help="time limit of a run in seconds [900]")
    parser.add_argument(
        "--synthetic", type=int, metavar="VOTES", help="number of synthetic votes for both sides"
    )
    parser.add_argument(
        "--growth", nargs="*", type=int, default=[], metavar="VOTES", help="numbers of synthetic votes"
    )
    parser.add_argument(
        "--stage", nargs="*", type=int, default=[], metavar="VOTES", help="numbers of votes, ascending"
    )
    parser.add_argument(
        "--set",
        nargs="*",
        default=[],
        metavar="KEY=VALUE",
        help="configuration of the stage below 'aggregate:'",
    )
    parser.add_argument("--job", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        return do_job(arguments.job)
    if not (arguments.votes or arguments.synthetic or arguments.growth or arguments.stage):
        parser.error("give --votes, --synthetic, --growth or --stage")
    if arguments.votes:
        compare_on_file(arguments.votes, arguments.questions, arguments.methods, arguments.limit)
    if arguments.synthetic:
        compare_on_synthetic(arguments.synthetic, arguments.methods, arguments.limit)
    if arguments.growth:
        show_growth(arguments.growth, arguments.methods, arguments.limit)
    if arguments.stage:
        show_stage(arguments.stage, arguments.set)
    return None


if __name__ == "__main__":
    main()
