"""True noise of red sets, and the images they use, with candidates in the order of evidence and in that of a hash.

    python -m benchmarks.candidate_order --build out --truth cifar10_train.csv.gz

--build: output folder of a finished build; --truth: CSV with the columns path and class_name, the true class of every web
image, which no build may use. With features (`embed.weights`), a ridge classifier is fitted to the features of each set
and scored on the test images.
"""

import argparse
import dataclasses

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from common.config import build
from pipeline.embed.features import read_features
from pipeline.layout import Layout
from pipeline.noise.candidates import EVIDENCE_STEPS
from pipeline.noise.pools import DRAW_COLUMNS, Pools, collect_pools
from pipeline.noise.training_sets import TrainingSet, training_sets
from pipeline.noise_config import PAPER_LEVELS, NoiseConfig
from pipeline.shards import directory
from pipeline.shards.split_inputs import SplitInputs

TRIALS = 5
RIDGE = 1e-2  # penalty on the weights, per image


class Build:
    """The classes and pools of a finished build in a folder."""

    def __init__(self, folder: str) -> None:
        self.layout = Layout(folder)
        self.names = directory.read_manifest(self.layout.retrievals).about["config"]["classes"]
        tables = {
            name: getattr(self.layout, name) for name in ("retrievals", "images", "verdicts", "duplicates")
        }
        inputs = SplitInputs(tables, self.names, 0.0, 1)
        parts = [inputs.part(index, DRAW_COLUMNS) for index in range(inputs.parts)]
        self.parts, self.pools = inputs.parts, collect_pools(parts)
        self.tests = pa.concat_tables([part.test for part in parts])

    def probe(self) -> "Probe | None":
        """Return a probe on the features of the build; None without features."""
        if not directory.find_manifest(self.layout.features):
            return None
        ids = self.tests["image_id"].combine_chunks()
        return Probe(self.layout.features, ids, self.tests["label"].to_numpy(), len(self.names))


class Probe:
    """Standardized features of all images of a build, and the test images on which a ridge classifier is scored."""

    def __init__(self, folder: str, test_ids: pa.Array, test_labels: np.ndarray, classes: int) -> None:
        features = read_features(folder)
        values = features.vectors.astype(np.float32)
        self.ids, self.classes = features.image_ids, classes
        self.values = (values - values.mean(0)) / np.maximum(values.std(0), 1e-3)
        self.test, self.test_labels = self._rows(test_ids), test_labels

    def _rows(self, ids: pa.Array) -> np.ndarray:
        index = pc.index_in(ids.cast(pa.string()), self.ids.combine_chunks())
        rows = self.values[index.to_numpy(zero_copy_only=False)]
        return np.hstack([rows, np.ones((len(rows), 1), np.float32)])

    def fit(self, ids: pa.Array, labels: np.ndarray) -> np.ndarray:
        """Return the weights of a ridge classifier, float32 (d + 1, classes)."""
        rows = self._rows(ids)
        targets = 2 * np.eye(self.classes, dtype=np.float32)[labels] - 1
        gram = rows.T @ rows / len(rows) + RIDGE * np.eye(rows.shape[1], dtype=np.float32)
        return np.asarray(np.linalg.solve(gram, rows.T @ targets / len(rows)))

    def accuracy(self, ids: pa.Array, labels: np.ndarray) -> float:
        """Return the accuracy on the test images after fitting to the images with these ids and labels."""
        return float(((self.test @ self.fit(ids, labels)).argmax(axis=1) == self.test_labels).mean())

    def predicted(self, weights: np.ndarray, ids: pa.Array) -> np.ndarray:
        """Return the predicted classes of images."""
        return np.asarray((self._rows(ids) @ weights).argmax(axis=1))


def examples(each: TrainingSet, pools: Pools) -> tuple[pa.Array, np.ndarray]:
    """Return ids and given labels of a red set."""
    assert each.wrong is not None
    ids = pa.concat_arrays(
        [pools.clean.ids.take(pa.array(each.kept)), pools.wrong.ids.take(pa.array(each.wrong))]
    )
    return ids, np.concatenate([pools.clean.labels[each.kept], pools.wrong.labels[each.wrong]])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--build", required=True)
    parser.add_argument("--truth", required=True)
    parser.add_argument("--trials", type=int, default=TRIALS)
    arguments = parser.parse_args()
    build_folder = Build(arguments.build)
    names, pools, probe = build_folder.names, build_folder.pools, build_folder.probe()
    truth = pd.read_csv(arguments.truth)
    truth.index = truth["path"].str.extract(r"(\w+)/(\d+)\.\w+$").agg("-".join, axis=1)
    shown = truth["class_name"].map(names.index).reindex(pools.wrong.ids.to_pylist()).to_numpy()
    truly_wrong = shown != pools.wrong.labels
    print_tiers(pools, shown, truly_wrong, probe)
    print_levels(pools, names, truly_wrong, probe, arguments.trials)


def print_tiers(pools: Pools, shown: np.ndarray, truly_wrong: np.ndarray, probe: Probe | None) -> None:
    """Print how often the candidates of each tier are wrong, and how easy they are for a classifier of the clean images."""
    easy = np.full(len(shown), np.nan)
    plausible = np.full(len(shown), np.nan)
    if probe:
        predicted = probe.predicted(probe.fit(pools.clean.ids, pools.clean.labels), pools.wrong.ids)
        easy, plausible = predicted == shown, predicted == pools.wrong.labels
    print(
        "the classifier columns: share of the truly wrong candidates for which it predicts the true class, or the given label"
    )
    print("| P(wrong), rounded | candidates | shows another class | truly wrong | true class | given label |")
    print("|---:|---:|---:|---:|---:|---:|")
    for tier in np.unique(pools.wrong.evidence)[::-1].tolist():
        own = pools.wrong.evidence == tier
        both = own & truly_wrong
        values = [
            pools.wrong.is_closed[own].mean(),
            truly_wrong[own].mean(),
            easy[both].mean(),
            plausible[both].mean(),
        ]
        cells = [f"{tier / EVIDENCE_STEPS:.2f}", f"{own.sum():,}", *(f"{value:.1%}" for value in values)]
        print(f"| {' | '.join(cells)} |")


def print_levels(
    pools: Pools, names: list[str], truly_wrong: np.ndarray, probe: Probe | None, trials: int
) -> None:
    """Print true noise, share of closed noise and accuracy of each level, in both orders."""
    print(f"\nmeans of {trials} trials; ± standard deviation of the trials")
    print("| level | order | true noise | shows another class | shared by two trials | ridge accuracy |")
    print("|---:|---:|---:|---:|---:|---:|")
    sets: dict[tuple[float, str], list[TrainingSet]] = {}
    for order in ("hash", "evidence"):
        config = build(
            NoiseConfig, {"colors": ["red"], "levels": list(PAPER_LEVELS), "trials": trials}, "noise"
        )
        for each in training_sets(pools, names, dataclasses.replace(config, candidate_order=order), 0):
            sets.setdefault((each.noise_level, order), []).append(each)
    for (level, order), drawn in sorted(sets.items(), key=lambda item: (item[0][0], item[0][1] != "hash")):
        if not level:
            continue
        true = np.array([truly_wrong[each.wrong].sum() / len(each) for each in drawn])
        closed = np.mean([pools.wrong.is_closed[each.wrong].mean() for each in drawn])
        first, last = drawn[0].wrong, drawn[-1].wrong
        assert first is not None
        assert last is not None
        overlap = len(np.intersect1d(first, last)) / max(len(first), 1)
        scores = (
            np.array([probe.accuracy(*examples(each, pools)) for each in drawn[:3]])
            if probe
            else np.array([np.nan])
        )
        print(
            f"| {level:.0%} | {order} | {true.mean():.2%} ± {true.std():.2%} | {closed:.1%} | {overlap:.0%} | "
            f"{scores.mean():.2%} ± {scores.std():.2%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
