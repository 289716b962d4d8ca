"""Counts of answers given and wanted, in which gold questions look like all others."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from pipeline.vote.assignment import Assignment


def _done_and_total(
    assignment: Assignment, gold_answers: np.ndarray, gold_share: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return answers so far and in all by class, int64 (classes,) each.

    Expected gold questions count from the beginning, so that no answer stands out by leaving the count as it was.
    """
    left = assignment.class_wanted - assignment.class_votes
    total = np.ceil(assignment.class_wanted / (1 - gold_share)).astype(np.int64)
    done = np.minimum(assignment.class_votes + gold_answers, total - left)
    return np.where(left > 0, done, total), total


def progress_of(assignment: Assignment, gold_answers: np.ndarray, gold_share: float) -> dict[str, Any]:
    """Return the answers so far (`done`) and in all (`total`)."""
    done, total = _done_and_total(assignment, gold_answers, gold_share)
    return {"done": int(done.sum()), "total": int(total.sum())}


def progress_by_class(
    names: Iterable[str], assignment: Assignment, gold_answers: np.ndarray, gold_share: float
) -> list[dict[str, Any]]:
    """Return name, `done` and `total` of every class."""
    done, total = _done_and_total(assignment, gold_answers, gold_share)
    return [
        {"class": name, "done": int(d), "total": int(t)}
        for name, d, t in zip(names, done, total, strict=True)
    ]
