"""True noise of red sets in both orders of candidates, in a simulated world whose truth is known.

    python -m benchmarks.simulated_evidence

Ten classes of 1,000 clean images. Of 40,000 web images, 30 % show the class that they were found for, 35 % another listed class,
35 % none. Half of them are also asked about a second class: the shown one, where there is one. Five workers answer each
question, and are wrong with probability 0.1 (four fifths of the images) or 0.35 (hard images).
"""

import dataclasses

import numpy as np
import pyarrow as pa

from benchmarks.candidate_evidence import estimated_verdicts
from pipeline.noise.pools import EXAMPLE_COLUMNS, VERDICT_COLUMNS, Pools, collect_pools, read_part
from pipeline.noise.training_sets import training_sets
from pipeline.noise_config import PAPER_LEVELS, NoiseConfig
from schemas.retrieval import RETRIEVAL

CLASSES = tuple(f"class-{i}" for i in range(10))
CLEAN, WEB, WORKERS = 1000, 40_000, 5


def world(seed: int) -> tuple[Pools, np.ndarray]:
    """Return the pools of a world, and the class that each web image shows, −1 for none."""
    rng = np.random.default_rng(seed)
    asked = rng.integers(0, 10, WEB)
    kind = rng.choice(3, WEB, p=[0.3, 0.35, 0.35])
    other = (asked + rng.integers(1, 10, WEB)) % 10
    shown = np.choose(kind, [asked, other, np.full(WEB, -1)])
    error = np.where(rng.random(WEB) < 0.8, 0.1, 0.35)
    second = np.where(shown == asked, other, np.where(shown >= 0, shown, other))
    extra = np.flatnonzero(rng.random(WEB) < 0.5)
    image, label = np.concatenate([np.arange(WEB), extra]), np.concatenate([asked, second[extra]])
    right = np.repeat(shown[image] == label, WORKERS)
    yes = right ^ (rng.random(len(right)) < np.repeat(error[image], WORKERS))
    names, ids = np.array(CLASSES), np.array([f"w{i}" for i in range(WEB)])
    columns = {
        "image_id": np.repeat(ids[image], WORKERS),
        "class_name": np.repeat(names[label], WORKERS),
        "worker_id": np.array([f"p{i}" for i in range(len(right))]),
        "answer": np.where(yes, "yes", "no"),
    }
    verdicts = estimated_verdicts(pa.table(columns), CLASSES)
    lists = {
        "image_id": np.concatenate([[f"c{i}" for i in range(10 * CLEAN)], ids[image]]),
        "class_name": names[np.concatenate([np.arange(10 * CLEAN) % 10, label])],
        "source": np.repeat(["clean", "web"], [10 * CLEAN, len(image)]),
        "location": np.full(10 * CLEAN + len(image), "simulated"),
    }
    retrievals = RETRIEVAL.conform(pa.table(lists), "lists")
    none = pa.array([], pa.string())
    part = read_part(retrievals.select(EXAMPLE_COLUMNS), verdicts.select(VERDICT_COLUMNS), none, CLASSES)
    return collect_pools([part]), shown


def main() -> None:
    print("means of 5 worlds; ± standard deviation of the worlds")
    print("| level | true, hash | true, evidence | other class shown: hash | evidence |")
    print("|---:|---:|---:|---:|---:|")
    true: dict[tuple[float, str], list[float]] = {}
    closed: dict[tuple[float, str], list[float]] = {}
    for seed in range(5):
        pools, shown = world(seed)
        images = np.array([int(i[1:]) for i in pools.wrong.ids.to_pylist()])
        truly_wrong = shown[images] != pools.wrong.labels
        is_closed = shown[images] >= 0
        for order in ("hash", "evidence"):
            config = NoiseConfig(colors=("red",), levels=PAPER_LEVELS[1:], on_shortage="cap")
            for each in training_sets(
                pools, CLASSES, dataclasses.replace(config, candidate_order=order), seed
            ):
                true.setdefault((each.noise_level, order), []).append(
                    truly_wrong[each.wrong].sum() / len(each)
                )
                closed.setdefault((each.noise_level, order), []).append(is_closed[each.wrong].mean())
    for level in PAPER_LEVELS[1:]:
        noise = [
            f"{np.mean(true[level, o]):.2%} ± {np.std(true[level, o]):.2%}" for o in ("hash", "evidence")
        ]
        shares = [f"{np.mean(closed[level, o]):.1%}" for o in ("hash", "evidence")]
        print("| " + " | ".join([f"{level:.0%}", *noise, *shares]) + " |")


if __name__ == "__main__":
    main()
