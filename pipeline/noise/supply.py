"""Why a class has as many wrong images as it has: the outcomes of its questions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

_OUTCOMES = (
    "all", "yes", "no", "no_by_text", "no_closed", "no_open", "unsure_no", "undecided", "few_votes", "no_votes", "removed",
)  # fmt: skip
# Of the wrong images, those that a color uses: the name of their count, and what they have in common.
_USED_BY = {
    "red-text": ("no_by_text", "have the method text"),
    "red-closed": ("no_closed", "are known to show another class"),
    "red-open": ("no_open", "are not known to show another class"),
}


@dataclass(frozen=True)
class Supply:
    """Counts of the questions of each class, and the rules by which web images count as wrong.

    counts: int64 (classes,) for each of _OUTCOMES. All but `all` and `removed` leave out images that dedupe has removed.
    most_votes: int64 (classes,), the highest number of votes of an undecided question with fewer than `min_votes`.
    few_votes: undecided questions with fewer than `min_votes`, those of removed images included. has_text: whether any
    web row has the method text.
    """

    counts: dict[str, np.ndarray]
    most_votes: np.ndarray
    few_votes: int
    has_text: bool
    min_votes: int
    min_confidence: float

    @property
    def classes(self) -> int:
        """Return the number of classes."""
        return len(self.most_votes)

    @classmethod
    def count(
        cls,
        labels: np.ndarray,
        verdicts: pa.ChunkedArray,
        votes: np.ndarray,
        confidence: np.ndarray,
        by_text: np.ndarray,
        is_closed: np.ndarray,
        removed: np.ndarray,
        classes: int,
        min_votes: int,
        min_confidence: float,
    ) -> "Supply":
        """Count questions; all arrays have an entry for each (web image, class)."""
        yes, no, undecided = (
            np.asarray(pc.equal(verdicts, name).to_numpy(), bool) for name in ("yes", "no", "undecided")
        )
        few = undecided & (votes < min_votes)
        masks = {
            "yes": yes,
            "no": no,
            "no_by_text": no & by_text,
            "no_closed": no & is_closed,
            "no_open": no & ~is_closed,
            "unsure_no": no & (confidence < min_confidence),
            "undecided": undecided,
            "few_votes": few,
            "no_votes": ~(yes | no | undecided),
        }
        chosen = {name: mask & ~removed for name, mask in masks.items()}
        chosen |= {"all": np.ones(len(labels), bool), "removed": removed}
        counts = {name: np.bincount(labels[chosen[name]], minlength=classes) for name in _OUTCOMES}
        most = np.zeros(classes, np.int64)
        np.maximum.at(most, labels[chosen["few_votes"]], votes[chosen["few_votes"]])
        return cls(counts, most, int(few.sum()), bool(by_text.any()), min_votes, min_confidence)

    @classmethod
    def sum(cls, parts: Sequence["Supply"]) -> "Supply":
        """Add up the counts of several parts, of which there is at least one."""
        return cls(
            {name: np.sum([part.counts[name] for part in parts], axis=0) for name in _OUTCOMES},
            np.max([part.most_votes for part in parts], axis=0),
            sum(part.few_votes for part in parts),
            any(part.has_text for part in parts),
            parts[0].min_votes,
            parts[0].min_confidence,
        )

    def explain(self, label: int, color: str) -> str:
        """Summarize the questions of a class in one line."""
        counts = {name: int(column[label]) for name, column in self.counts.items()}
        if not counts["all"]:
            return "no web image with this class was ingested"
        few = counts["few_votes"]
        parts = {
            "yes": counts["yes"],
            "no": counts["no"],
            f"undecided with {self.min_votes} votes or more": counts["undecided"] - few,
            f"undecided with {self.most_votes[label]} votes or fewer (aggregate.min_votes is {self.min_votes})": few,
            "without votes": counts["no_votes"],
            "near-duplicates or leaks, which are removed": counts["removed"],
            f"no, but below noise.min_confidence {self.min_confidence}": counts["unsure_no"],
        }
        text = f"{counts['all']} questions: " + ", ".join(
            f"{count} {outcome}" for outcome, count in parts.items() if count
        )
        if color in _USED_BY:
            name, common = _USED_BY[color]
            text += f"; {counts[name]} of the wrong images {common}"
        return text

    def hint(self, color: str) -> str:
        """Return a remedy for all classes, or an empty string."""
        if color == "red-text" and not self.has_text:
            return (
                "No row of the web lists has the method text: fill the column method, or leave red-text out of "
                "noise.colors. "
            )
        if color == "red-closed" and not self.counts["no_closed"].any():
            return (
                "No wrong image is known to show another class: ask about more classes of each image, fill the column "
                "seen_class of the votes, or leave red-closed out of noise.colors. "
            )
        if self.few_votes:
            return (
                f"{self.few_votes} of {int(self.counts['all'].sum())} questions are undecided because they have fewer "
                f"votes than aggregate.min_votes = {self.min_votes}: collect more votes or lower it. "
            )
        return ""
