"""Accuracy of a ridge classifier on features under each kind of blue noise, on the same images at the same levels.

    python -m benchmarks.blue_instance --build out

--build: output folder of a finished build with features (`embed.weights`).
"""

import argparse
import time
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.candidate_order import Build
from pipeline.noise.instance.flips import instance_flips
from pipeline.noise.training_sets import training_sets
from pipeline.noise_config import NoiseConfig
from pipeline.shards.feature_parts import FeatureParts

KINDS = ("uniform", "part-dependent", "margin", "cluster", "votes")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--build", required=True)
    parser.add_argument("--levels", type=float, nargs="+", default=[0.2, 0.4, 0.6])
    parser.add_argument("--trials", type=int, default=3)
    arguments = parser.parse_args()
    build = Build(arguments.build)
    probe, clean = build.probe(), build.pools.clean
    assert probe, "the build has no features"
    features = FeatureParts(build.layout.features, build.parts)
    print(f"accuracy without noise: {probe.accuracy(clean.ids, clean.labels):.2%}")
    print("| noise | CPU seconds | " + " | ".join(f"{level:.0%}" for level in arguments.levels) + " |")
    print("|---|---:|" + "---:|" * len(arguments.levels))
    for kind in KINDS:
        color: Any = "blue" if kind == "uniform" else "blue-instance"
        config = NoiseConfig(colors=(color,), levels=tuple(arguments.levels), trials=arguments.trials)
        start = time.process_time()
        scores: dict[float, list[float]] = {level: [] for level in arguments.levels}
        flips = partial(instance_flips, kind, build.pools, build.names, features=features)
        drawn = list(training_sets(build.pools, build.names, config, 0, flips))
        seconds = (time.process_time() - start) / arguments.trials
        for each in drawn:
            ids = clean.ids.take(pa.array(np.concatenate([each.kept, each.replaced])))
            scores[each.noise_level].append(
                probe.accuracy(ids, np.concatenate([clean.labels[each.kept], each.flipped]))
            )
        cells = [f"{np.mean(values):.2%} ± {np.std(values):.2%}" for values in scores.values()]
        print(f"| {kind} | {seconds:.1f} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
