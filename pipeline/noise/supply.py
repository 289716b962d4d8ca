"""Why a class has as many wrong images as it has: what became of its questions."""

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Supply:
    """The questions of all classes, and the rules that made wrong images of them.

    `questions` has a row for each web image and class: label, method, verdict, votes, confidence, and whether dedupe has
    `removed` the image.
    """

    questions: pd.DataFrame
    min_votes: int
    min_confidence: float

    def explain(self, label: int, color: str) -> str:
        """Say in one line what became of the questions of a class."""
        rows = self.questions[self.questions["label"] == label]
        if not len(rows):
            return "no web image with this class was ingested"
        kept = rows[~rows["removed"]]
        undecided = kept[kept["verdict"] == "undecided"]
        few = undecided[undecided["votes"] < self.min_votes]
        wrong = kept[kept["verdict"] == "no"]
        unsure = wrong["confidence"] < self.min_confidence
        parts = {
            "yes": int((kept["verdict"] == "yes").sum()),
            "no": len(wrong),
            f"undecided with {self.min_votes} votes or more": len(undecided) - len(few),
            f"undecided with {few['votes'].max()} votes or fewer (aggregate.min_votes is {self.min_votes})": len(
                few
            ),
            "without votes": int((kept["verdict"] == "no votes").sum()),
            "near-duplicates or leaks, which are removed": int(rows["removed"].sum()),
            f"no, but below noise.min_confidence {self.min_confidence}": int(unsure.sum()),
        }
        told = f"{len(rows)} questions: " + ", ".join(
            f"{count} {what}" for what, count in parts.items() if count
        )
        if color == "red-text":
            told += f"; {int((wrong['method'] == 'text').sum())} of the wrong images have the method text"
        return told

    def hint(self, color: str) -> str:
        """Name a remedy for all classes, if there is one."""
        if color == "red-text" and not (self.questions["method"] == "text").any():
            return (
                "No row of the web lists has the method text: fill the column method, or leave red-text out of "
                "noise.colors. "
            )
        few = (self.questions["verdict"] == "undecided") & (self.questions["votes"] < self.min_votes)
        if few.any():
            return (
                f"{int(few.sum())} of {len(self.questions)} questions are undecided because they have fewer votes than "
                f"aggregate.min_votes = {self.min_votes}: collect more votes or lower it. "
            )
        return ""
