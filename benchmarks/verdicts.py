"""Accuracy of verdicts on CIFAR-10N against CIFAR-10's labels.

    python -m benchmarks.verdicts DIR TRUTH

DIR has annotations.csv (image_id, class_name, worker_id, answer: three workers a question, each of whom chose one of ten
classes) and retrieval.csv (image_id, path, …), TRUTH is a CSV of path and class_name. Takes a few seconds.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.aggregate.methods.convergence import MethodSettings
from pipeline.aggregate.methods.registry import METHODS, estimate_posterior
from pipeline.aggregate.methods.vote_matrix import VoteMatrix
from pipeline.aggregate.verdicts import majority_of_counts
from schemas.vote import ANSWERS

QUESTION = ["image_id", "class_name"]


def pairs(votes: pd.DataFrame, truth: pd.Series) -> None:
    """Verdicts yes and no of the pairs (image, class) by strict majority."""
    counts = votes.groupby([*QUESTION, "answer"]).size().unstack(fill_value=0)
    counts = counts.reindex(columns=list(ANSWERS), fill_value=0)
    asked = counts.index.to_frame(index=False)
    table = majority_of_counts(pa.Table.from_pandas(asked), counts.to_numpy(), 3)
    verdict = np.array(table["verdict"].to_pylist())
    shows = (truth.reindex(asked["image_id"]).to_numpy() == asked["class_name"]).to_numpy()
    for said, right in (("yes", shows), ("no", ~shows)):
        of = verdict == said
        print(f"pairs, strict majority: {of.sum():,} {said}, {right[of].mean():.1%} of them right")


def choices(votes: pd.DataFrame, truth: pd.Series) -> None:
    """The choice of each worker among all classes, by every method."""
    chosen = votes[votes["answer"] == "yes"]
    items, images = pd.factorize(chosen["image_id"])
    answers, classes = pd.factorize(chosen["class_name"], sort=True)
    matrix = VoteMatrix.of(items, pd.factorize(chosen["worker_id"])[0], answers, len(classes))
    right = pd.Index(classes).get_indexer(pd.Index(truth.reindex(images)))
    for method in METHODS:
        result = estimate_posterior(matrix, method, MethodSettings(smoothing=0.1)).verdicts(0)
        undecided = (result < 0).mean()
        print(f"choices, {method}: {(result == right).mean():.1%} right, {undecided:.1%} undecided")


def main() -> None:
    """The share of right verdicts by each consensus method, held against CIFAR-10's own labels."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("truth", type=Path)
    arguments = parser.parse_args()
    votes = pd.read_csv(arguments.folder / "annotations.csv")
    paths = pd.read_csv(arguments.folder / "retrieval.csv").drop_duplicates("image_id")
    known = pd.read_csv(arguments.truth).set_index("path")["class_name"]
    truth = pd.Series(known.reindex(paths["path"]).to_numpy(), index=paths["image_id"])
    pairs(votes, truth)
    choices(votes, truth)


if __name__ == "__main__":
    main()
