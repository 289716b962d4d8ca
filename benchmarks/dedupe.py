"""All pairs of 64-bit hashes within a radius: ours beside faiss, usearch and imagededup, on the same hashes, in the same run.

    python -m venv peers && peers/bin/pip install faiss-cpu usearch imagededup
    python -m benchmarks.dedupe --peers peers/bin/python                          # 278,000 hashes; ten minutes
    python -m benchmarks.dedupe --growth 10000 100000 1000000 --plot growth.svg   # ours, and faiss with --peers
    python -m benchmarks.dedupe --join 1000000                                    # ours through Beam, by join

The hashes are random, with copies planted at every distance from 0 to the radius + 2. Each run is a process of its
own, so that its peak memory is its own; seconds are from hashes in memory to pairs in memory. `--only` runs some.
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

from benchmarks.rows import record

WEB, CLEAN_AND_TEST = 213_000, 65_000  # about the published set
PLANTED = 20_000
# Peers whose cost grows with the square, or that start a Python call for each hash, stop here.
LIMITS = {
    "imagededup brute force": 10_000,
    "imagededup BK-tree": 2_000,
    "faiss flat": 300_000,
    "faiss multi-hash": 300_000,
    "usearch": 300_000,
}
PEERS = ("faiss", "usearch", "imagededup")
APPROXIMATE = ("usearch",)  # a graph of neighbors, which misses some pairs: see recall


def planted(count: int, radius: int) -> tuple[np.ndarray, np.ndarray]:
    """Hashes, uint64 (count,), and the planted pairs (position, position, distance), int64 (pairs, 3)."""
    rng = np.random.default_rng(count)
    hashes = rng.integers(0, 2**64, count, np.uint64)
    at = rng.permutation(count)[: 2 * min(PLANTED, count // 4)].reshape(-1, 2)
    distance = np.arange(len(at)) % (radius + 3)
    flips = np.argsort(rng.random((len(at), 64)), axis=1)
    bits = np.where(np.arange(64) < distance[:, None], np.uint64(1) << flips.astype(np.uint64), np.uint64(0))
    hashes[at[:, 1]] = hashes[at[:, 0]] ^ np.bitwise_or.reduce(bits, axis=1)
    return hashes, np.column_stack([np.sort(at, axis=1), distance])


def ours(hashes: np.ndarray, radius: int, threads: int) -> np.ndarray:
    from pipeline.dedupe.confirm import confirm_pairs
    from pipeline.dedupe.neighbors import HashPairs, distinct_hashes, near_pairs

    values, repeats = distinct_hashes(hashes)
    near = HashPairs.join([near_pairs(values, radius, threads), repeats])
    # From values to positions; long hashes that are all alike, and no thumbnails, confirm every pair.
    long = np.zeros((len(hashes), 32), np.uint8)
    pairs, _ = confirm_pairs(hashes, long, near, 0, lambda a, _b: np.ones(len(a), bool))
    return np.column_stack([pairs.a, pairs.b])


def tiles(hashes: np.ndarray, radius: int, _: int) -> np.ndarray:
    """The whole comparison in NumPy, one thread: the oracle."""
    found = []
    for top in range(0, len(hashes), 64):
        block = hashes[top : top + 64, None]
        i, j = np.nonzero(np.bitwise_count(block ^ hashes[None, top:]) <= radius)
        found.append(np.column_stack([i + top, j + top])[i < j])
    return np.concatenate(found)


def faiss_index(hashes: np.ndarray, radius: int, threads: int, multi: bool) -> np.ndarray:
    import faiss

    faiss.omp_set_num_threads(threads)
    codes = np.ascontiguousarray(hashes).view(np.uint8).reshape(-1, 8)
    if multi:
        index = faiss.IndexBinaryMultiHash(64, 4, 16)
        index.nflip = radius // 4  # what makes its search complete
    else:
        index = faiss.IndexBinaryFlat(64)
    index.add(codes)
    limits, _, labels = index.range_search(codes, radius + 1)
    rows = np.repeat(np.arange(len(hashes)), np.diff(limits.astype(np.int64)))
    return np.column_stack([rows, labels])[rows < labels]


def usearch(hashes: np.ndarray, radius: int, threads: int) -> np.ndarray:
    """The nearest ten of each hash in usearch's graph, as near as its defaults find them."""
    from usearch.index import Index, MetricKind, ScalarKind

    codes = np.ascontiguousarray(hashes).view(np.uint8).reshape(-1, 8)
    index = Index(ndim=64, metric=MetricKind.Hamming, dtype=ScalarKind.B1)
    rows = np.arange(len(codes))
    index.add(rows, codes, threads=threads)
    found = index.search(codes, min(10, len(codes)), threads=threads)
    near = (found.distances <= radius) & (rows[:, None] < found.keys.astype(np.int64))
    row, rank = np.nonzero(near)
    return np.column_stack([row, found.keys[row, rank].astype(np.int64)])


def imagededup(hashes: np.ndarray, radius: int, threads: int, method: str) -> np.ndarray:
    from imagededup.handlers.search.retrieval import HashEval
    from imagededup.methods import PHash

    names = {str(i): f"{value:016x}" for i, value in enumerate(hashes.tolist())}
    found = HashEval(
        test=names, queries=names, distance_function=PHash.hamming_distance, verbose=False, threshold=radius,
        search_method=method, num_dist_workers=threads,
    ).retrieve_results(scores=False)  # fmt: skip
    pairs = [(int(a), int(b)) for a, others in found.items() for b in others if int(a) < int(b)]
    return np.array(pairs, np.int64).reshape(-1, 2)


METHODS = {
    "ours": ours,
    "ours, one thread": lambda h, r, _: ours(h, r, 1),
    "NumPy tiles": tiles,
    "faiss flat": lambda h, r, t: faiss_index(h, r, t, multi=False),
    "faiss multi-hash": lambda h, r, t: faiss_index(h, r, t, multi=True),
    "usearch": usearch,
    "imagededup brute force": lambda h, r, t: imagededup(h, r, t, "brute_force_cython"),
    "imagededup BK-tree": lambda h, r, t: imagededup(h, r, t, "bktree"),
}


def one(method: str, count: int, radius: int, threads: int) -> None:
    """The body of a process: run a method and print what it took and found."""
    hashes, truth = planted(count, radius)
    METHODS[method](hashes[:500], radius, threads)  # imports, threads and the like are no part of the search
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pairs = METHODS[method](hashes, radius, threads)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    keys = np.unique(pairs[:, 0].astype(np.int64) * count + pairs[:, 1])
    near = truth[truth[:, 2] <= radius]
    found = np.isin(near[:, 0] * count + near[:, 1], keys)
    result = {"seconds": seconds, "pairs": len(keys), "recall": float(found.mean()), "peak_mb": peak / 1024,
            "more_mb": (peak - before) / 1024, "digest": int(np.bitwise_xor.reduce(keys, initial=0))}  # fmt: skip
    print("\n" + json.dumps(result))


def run(method: str, count: int, given: argparse.Namespace) -> dict | None:
    """Run a method in its own process; return None if it is unavailable or too slow for this count."""
    peer = method.startswith(PEERS)
    if (
        (peer and not given.peers)
        or count > LIMITS.get(method, count)
        or (given.only and method not in given.only)
    ):
        return None
    command = [given.peers if peer else sys.executable, __file__, "--one", method, "--count", str(count),
               "--radius", str(given.radius), "--threads", str(given.threads)]  # fmt: skip
    root = str(Path(__file__).parent.parent)
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": root}
    )
    if done.returncode:
        print(f"{method}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def join(count: int, radius: int, arguments: list[str]) -> None:
    """Ours by join through a runner, held against the search in memory."""
    import apache_beam as beam
    import pyarrow as pa

    from pipeline.dedupe.neighbors import HashPairs, distinct_hashes, near_pairs
    from pipeline.jobs.near_hashes import SearchDistributed
    from pipeline.running.run import JobSpec, run_job
    from pipeline.shards import commit, directory
    from pipeline.shards.parquet import write_shard
    from schemas.image import IMAGES

    hashes, _ = planted(count, radius)
    schema = pa.schema([IMAGES.schema.field("phash")])
    with tempfile.TemporaryDirectory() as place:
        parts = np.array_split(hashes, max(1, count // 200_000))
        shards = [
            write_shard(
                place,
                directory.shard_stem("part", i, len(parts)),
                schema,
                [pa.table({"phash": part}, schema)],
            )
            for i, part in enumerate(parts)
        ]
        commit.commit(place, IMAGES.name, [shard for shard in shards if shard], {})
        output = Path(place) / "near.npy"

        def construct(pipeline: beam.Pipeline) -> None:
            parts = pipeline | SearchDistributed(place, count, radius)
            gathered = parts | beam.CombineGlobally(beam.combiners.ToListCombineFn())
            _ = gathered | beam.Map(_save, str(output))

        start = time.perf_counter()
        run_job(construct, arguments, JobSpec("dedupe", place, "masks", 0, 1e9))
        seconds = time.perf_counter() - start
        usage = (
            resource.getrusage(who).ru_maxrss / 1024
            for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        values, repeats = distinct_hashes(hashes)
        expected = HashPairs.join([near_pairs(values, radius), repeats])
        same = np.array_equal(np.load(output, allow_pickle=False), np.stack([expected.u, expected.v]))
        print(f"join: {count:,} hashes {seconds:.1f} s, {len(expected.u):,} pairs, equal to the search in memory: {same}, "
              f"peak MB of the runner and of its largest worker {[round(mb) for mb in usage]}")  # fmt: skip


def _save(parts: list, path: str) -> None:
    from pipeline.dedupe.neighbors import HashPairs

    near = HashPairs.join(parts)
    np.save(path, np.stack([near.u, near.v]))


def plot(rows: list[tuple[str, int, dict]], path: str) -> None:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(5, 3.2), layout="constrained")
    for method in dict.fromkeys(row[0] for row in rows):
        points = [(count, result["seconds"]) for name, count, result in rows if name == method]
        axes.loglog(*zip(*points, strict=True), "o-", label=method, markersize=3)
    axes.set(xlabel="hashes", ylabel="seconds")
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Date": None} if path.endswith("svg") else None)


def main() -> None:
    """All pairs of hashes within a radius: ours beside faiss, usearch and imagededup; ours alone with --growth, --join."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", help="the Python that has faiss, usearch and imagededup")
    parser.add_argument("--count", type=int, default=WEB + CLEAN_AND_TEST)
    parser.add_argument("--growth", type=int, nargs="+", help="several counts, instead of --count")
    parser.add_argument("--join", type=int, nargs="+", help="counts for the search by join through Beam")
    parser.add_argument("--radius", type=int, default=8)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--only", nargs="+", choices=METHODS)
    parser.add_argument("--plot", help="picture of the growth")
    parser.add_argument("--one", choices=METHODS, help=argparse.SUPPRESS)
    given, beam_arguments = parser.parse_known_args()
    if given.one:
        return one(given.one, given.count, given.radius, given.threads)
    for count in given.join or ():
        join(count, given.radius, beam_arguments)
    if given.join:
        return None
    rows = []
    print(
        f"radius {given.radius}, {given.threads} threads\n| hashes | method | s | recall | pairs | MB more | times ours |\n|---|---|---|---|---|---|---|"
    )
    for count in given.growth or [given.count]:
        base: dict | None = None
        digests = set()
        for method in METHODS:
            result = run(method, count, given)
            if result is None:
                continue
            base = base or result
            rows.append((method, count, result))
            if method not in APPROXIMATE:
                digests.add((result["pairs"], result["digest"]))
            if result is not base:
                what = f"all pairs of {count:,} hashes within {given.radius} bits"
                recall = f" (recall {result['recall']:.3f})" if method in APPROXIMATE else ""
                record(what, "s", base["seconds"], method + recall, result["seconds"], more_is_better=False)
            print(f"| {count:,} | {method} | {result['seconds']:.2f} | {result['recall']:.4f} | {result['pairs']:,} | "
                  f"{result['more_mb']:.0f} | {result['seconds'] / base['seconds']:.1f} |", flush=True)  # fmt: skip
        print(f"all exact methods found the same pairs: {len(digests) == 1}", flush=True)
    if given.plot:
        plot(rows, given.plot)
    return None


if __name__ == "__main__":
    main()
