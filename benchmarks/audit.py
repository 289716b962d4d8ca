"""How well wrong labels are found, and how many there are said to be, on sets whose noise is known.

    python -m benchmarks.audit out/cifar10n --truth truth.csv

Needs a build with features and with red and blue sets, and cleanlab (`pip install cleanlab`). `--truth` is a table with the columns
image_id and class_name: the class that each image shows; without it, verdicts count as the truth. Beside our probe stand
the neighbors, cleanlab's scores of our probabilities, cleanlab by itself (CleanLearning with scikit-learn's logistic
regression), and SelfClean's score (F. Gröger et al.: Intrinsic Self-Supervision for Data Quality Audits, NeurIPS 2024,
section 3: the ratio of distances to the nearest image of the same and of another label). Prints Markdown; about twenty
minutes on two cores for CIFAR-10N.
"""

import argparse
import csv
import gzip
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from page.markdown import markdown_table
from pipeline.audit.audit import combine_estimates
from pipeline.audit.inputs import AuditInputs, feature_blocks, read_inputs
from pipeline.audit.label_errors import plant_errors, visible_errors
from pipeline.audit.neighbors import TILE_ROWS, class_share, nearest_labels
from pipeline.audit.probe import FOLDS, fit_probe, tiles
from pipeline.audit.transition import GROUPS, estimate_transition
from pipeline.layout import Layout
from pipeline.shards import directory
from schemas.example import EXAMPLE
from schemas.suspect import SUSPECT

LEVELS = (0.2, 0.4, 0.8)
COLORS = ("red", "blue")
RESAMPLES = 60


@dataclass(frozen=True)
class LabeledSet:
    """n examples: features on the grid (n, d), given labels, groups and folds, int (n,), hashes, and what is wrong, bool (n,)."""

    features: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    folds: np.ndarray
    order: np.ndarray
    by_votes: np.ndarray
    by_truth: np.ndarray


Scores = dict[str, np.ndarray]  # by method, higher is more suspect


class Build:
    """A build with features; `truth`: class id of each image, -1 where it is unknown."""

    def __init__(self, output: str, truth: str | None) -> None:
        self.output, self.inputs = output, read_inputs(output)
        self.features = np.concatenate(list(feature_blocks(output)))
        self.index = {image: i for i, image in enumerate(self.inputs.image_ids.to_pylist())}
        self.truth = _truth(truth, self.inputs)

    def labeled(self, name: str) -> LabeledSet:
        """Return a set of the dataset."""
        columns = ["image_id", "label", "is_clean"]
        rows = directory.read_table(f"{Layout(self.output).dataset}/{name}", EXAMPLE, columns)
        images = np.array([self.index[image] for image in rows["image_id"].to_pylist()])
        labels = rows["label"].to_numpy()
        by_votes = ~rows["is_clean"].to_numpy(zero_copy_only=False)
        known = self.truth[images]
        of = self.inputs
        return LabeledSet(
            self.features[images], labels, of.groups[images], of.folds[images], of.order[images], by_votes,
            np.where(known >= 0, known != labels, by_votes),
        )  # fmt: skip


def _truth(path: str | None, inputs: AuditInputs) -> np.ndarray:
    truth = np.full(len(inputs.image_ids), -1)
    if path:
        with gzip.open(path, "rt") if path.endswith(".gz") else open(path) as file:
            classes = {row["image_id"]: row["class_name"] for row in csv.DictReader(file)}
        names = {name: i for i, name in enumerate(inputs.class_names)}
        truth = np.array([names.get(classes.get(each, ""), -1) for each in inputs.image_ids.to_pylist()])
    return truth


def probabilities_of(of: LabeledSet, classes: int) -> np.ndarray:
    probe = fit_probe(lambda: [of.features], of.labels, of.folds, of.order, classes)
    return probe.probabilities(of.features, of.folds)


def our_scores(of: LabeledSet, probabilities: np.ndarray) -> Scores:
    return {"probe (ours)": -probabilities[np.arange(len(of.labels)), of.labels]}


def peer_scores(of: LabeledSet, probabilities: np.ndarray) -> Scores:
    from cleanlab.rank import get_label_quality_scores

    found = {"neighbors (ours)": -neighbor_shares(of)}
    for method in ("normalized_margin", "confidence_weighted_entropy"):
        quality = get_label_quality_scores(of.labels, probabilities, method=method)
        found[f"cleanlab {method.replace('_', ' ')}, our probabilities"] = -quality
    found["cleanlab by itself"] = -cleanlab_quality(of)
    found["SelfClean's score"] = -selfclean_scores(of.features, of.labels)
    return found


def neighbor_shares(of: LabeledSet) -> np.ndarray:
    shares, first = [], 0
    for tile in tiles(lambda: [of.features], TILE_ROWS):
        rows = slice(first, first + len(tile))
        first += len(tile)
        labels = nearest_labels(tile, of.groups[rows], of.features, of.labels, of.groups, 50)
        shares.append(class_share(labels, of.labels[rows]))
    return np.concatenate(shares)


def cleanlab_quality(of: LabeledSet) -> np.ndarray:
    from cleanlab.classification import CleanLearning

    issues = CleanLearning(seed=0).find_label_issues(of.features, of.labels)
    return issues["label_quality"].to_numpy()


def selfclean_scores(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return m_other² / (m_same² + m_other²) of the least cosine distances to the same and to other labels; low is suspect."""
    result = np.empty(len(labels))
    for start in range(0, len(labels), TILE_ROWS):
        rows = slice(start, start + TILE_ROWS)
        distance = 1 - features[rows] @ features.T / (4000 / 4096) ** 2
        same = labels[rows, None] == labels
        others = np.where(same, np.inf, distance).min(axis=1)
        distance[np.arange(len(distance)), np.arange(start, start + len(distance))] = np.inf
        own = np.where(same, distance, np.inf).min(axis=1)
        result[rows] = others**2 / np.maximum(own**2 + others**2, 1e-12)
    return result


def auroc(score: np.ndarray, wrong: np.ndarray) -> float:
    ranks, count = rankdata(score), int(wrong.sum())
    return float((ranks[wrong].sum() - count * (count + 1) / 2) / (count * (len(wrong) - count)))


def precision(score: np.ndarray, wrong: np.ndarray) -> float:
    """Return the share of wrong labels among as many of the most suspect as there are wrong ones."""
    return float(wrong[np.argsort(-score, kind="stable")[: int(wrong.sum())]].mean())


def resampled(measure: Callable[..., float], score: np.ndarray, wrong: np.ndarray, seed: int) -> np.ndarray:
    """Return the measure and its values on RESAMPLES bootstrap samples of images."""
    rng = np.random.default_rng(seed)
    draws = (rng.integers(0, len(wrong), len(wrong)) for _ in range(RESAMPLES))
    return np.array([measure(score, wrong), *(measure(score[rows], wrong[rows]) for rows in draws)])


def interval(values: np.ndarray, digits: int = 3) -> str:
    """Format a value with its 95 % interval by the standard deviation of its bootstrap samples."""
    margin = 1.96 * values[1:].std(ddof=1)
    return f"{values[0]:.{digits}f} ± {margin:.{digits}f}"


Found = dict[tuple[str, str, str, float, str], np.ndarray]  # by measure, truth, color, level, method


def detection(build: Build, trials: int, peer_trials: int) -> tuple[Found, list[list[str]]]:
    """Return bootstrap samples of each measure, averaged over trials, and rows of estimated shares."""
    classes, shares = len(build.inputs.class_names), []
    found: dict[tuple[str, str, str, float, str], list[np.ndarray]] = {}
    for color in COLORS:
        for level in LEVELS:
            for trial in range(trials):
                of = build.labeled(f"{color}-{level:.2f}" + (f"-trial-{trial}" if trial else ""))
                probabilities = probabilities_of(of, classes)
                shares.append([color, f"{level:.0%}", str(trial), *share_row(of, probabilities)])
                scores = our_scores(of, probabilities)
                if trial < peer_trials:
                    scores |= peer_scores(of, probabilities)
                for method, score in scores.items():
                    for truth, wrong in (("votes", of.by_votes), ("truth", of.by_truth)):
                        for name, measure in (("AUROC", auroc), ("precision", precision)):
                            values = resampled(measure, score, wrong, trial)
                            found.setdefault((name, truth, color, level, method), []).append(values)
                print(f"{color} {level} {trial}", file=sys.stderr, flush=True)
    return {key: np.mean(values, axis=0) for key, values in found.items()}, shares


def print_detection(found: Found) -> None:
    """Print a table for each measure and truth, and how much easier blue noise is."""
    methods = list(dict.fromkeys(key[-1] for key in found))
    for name in ("AUROC", "precision"):
        for truth in ("votes", "truth"):
            of = {key[2:]: values for key, values in found.items() if key[:2] == (name, truth)}
            heads = ["method", *(f"{color} {level:.0%}" for color in COLORS for level in LEVELS)]
            rows = [
                [method, *(interval(of[color, level, method]) for color in COLORS for level in LEVELS)]
                for method in methods
            ]
            print(f"\n{name}, wrong by {truth}:\n")
            print(markdown_table(heads, rows))
            for level in LEVELS:
                easier = of["blue", level, methods[0]] - of["red", level, methods[0]]
                print(f"\nblue − red at {level:.0%}, probe: {interval(easier)}", flush=True)


def share_row(of: LabeledSet, probabilities: np.ndarray) -> list[str]:
    """Return the true share of wrong labels, our estimates, and cleanlab's."""
    from cleanlab.count import num_label_issues

    low = visible_errors(
        probabilities[np.arange(len(of.labels)), of.labels], plant_errors(probabilities, of.labels)
    )
    high = estimate_transition(
        probabilities, of.labels, (of.order // np.uint64(FOLDS) % np.uint64(GROUPS)).astype(int)
    )
    both = combine_estimates(low, high.noise)
    cleanlab = num_label_issues(of.labels, probabilities) / len(of.labels)
    shares = (of.by_votes.mean(), of.by_truth.mean(), low.share, high.noise.share, both.share)
    return [*(f"{share:.3f}" for share in shares), f"[{both.low:.3f}, {both.high:.3f}]", f"{cleanlab:.3f}"]


def planted(build: Build, repeats: int) -> list[list[str]]:
    """Return rows of the estimates on clean labels with planted errors."""
    of = build.labeled("blue-0.00")
    classes, rows = len(build.inputs.class_names), []
    probabilities = probabilities_of(of, classes)
    confusion = np.stack([probabilities[of.labels == k].mean(axis=0) for k in range(classes)])
    np.fill_diagonal(confusion, 0)
    for kind in ("uniform", "confusable"):
        weights = np.ones((classes, classes)) - np.eye(classes) if kind == "uniform" else confusion
        cumulative = np.cumsum(weights / weights.sum(axis=1, keepdims=True), axis=1)
        for share in (0, 0.01, 0.03, 0.1, 0.2):
            estimates = []
            for repeat in range(repeats):
                rng = np.random.default_rng([repeat, round(1000 * share)])
                labels = of.labels.copy()
                chosen = rng.permutation(len(labels))[: round(share * len(labels))]
                draws = rng.random(len(chosen))[:, None] * (1 - 1e-9)
                labels[chosen] = (draws >= cumulative[labels[chosen]]).sum(axis=1)
                groups = rng.integers(0, GROUPS, len(labels))
                own = probabilities[np.arange(len(labels)), labels]
                low = visible_errors(own, plant_errors(probabilities, labels))
                high = estimate_transition(probabilities, labels, groups).noise
                estimates.append((low.share, high.share, combine_estimates(low, high)))
            held = np.mean([each.low <= share <= each.high for *_, each in estimates])
            means = [np.mean([each[i] for each in estimates]) for i in (0, 1)]
            rows.append([kind, f"{share:.0%}", *(f"{mean:.3f}" for mean in means), f"{held:.0%}"])
    return rows


def verdicts(build: Build) -> list[list[str]]:
    """Return rows about votes, features and both as evidence of what an image shows, from the suspects of the build."""
    rows = directory.read_table(Layout(build.output).suspects, SUSPECT).to_pandas()
    rows = rows[rows["source"] == "web"]
    known = build.truth[[build.index[image] for image in rows["image_id"]]]
    ids = {name: i for i, name in enumerate(build.inputs.class_names)}
    wrong = known != rows["class_name"].map(ids).to_numpy()
    result = []
    for name in ("p_wrong_votes", "p_wrong_features", "p_wrong"):
        p = rows[name].to_numpy(np.float64)
        cells = [f"{auroc(p, wrong):.3f}", f"{((p - wrong) ** 2).mean():.4f}"]
        for verdict in ("no", "yes"):
            of = (rows["verdict"] == verdict).to_numpy()
            error, estimate = (1 - wrong, 1 - p) if verdict == "no" else (wrong, p)
            cells += [
                f"{estimate[of].mean():.3f}",
                f"{error[of].mean():.3f}",
                f"{auroc(estimate[of], error[of] > 0):.3f}",
            ]
        result.append([name, *cells])
    return result


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("build")
    parser.add_argument("--truth")
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument(
        "--peer-trials", type=int, default=1, help="trials on which the peers are measured, too"
    )
    parser.add_argument("--repeats", type=int, default=10)
    arguments = parser.parse_args()
    build = Build(arguments.build.rstrip("/"), arguments.truth)
    if arguments.truth and directory.find_manifest(Layout(build.output).suspects):
        heads = ["by", "AUROC", "Brier", "no: estimated", "true", "AUROC", "yes: estimated", "true", "AUROC"]
        print("\nVerdicts of web images:\n")
        print(markdown_table(heads, verdicts(build)), flush=True)
    found, shares = detection(build, arguments.trials, arguments.peer_trials)
    print_detection(found)
    heads = [
        "color",
        "level",
        "trial",
        "by votes",
        "by truth",
        "visible",
        "transition",
        "mean",
        "interval",
        "cleanlab",
    ]
    print("\nShare of wrong labels:\n")
    print(markdown_table(heads, shares), flush=True)
    print("\nClean labels with planted errors:\n")
    heads = ["errors", "share", "visible", "transition", "interval holds it"]
    print(markdown_table(heads, planted(build, arguments.repeats)))


if __name__ == "__main__":
    main()
