"""Decide which question a worker is asked next, so that every question gets the votes it needs from different workers."""

import numpy as np

from schemas.vote import ANSWERS

YES, NO = ANSWERS.index("yes"), ANSWERS.index("no")
_CHUNK = 1 << 15  # questions that are searched at once


def votes_wanted(counts: np.ndarray, undecided: np.ndarray, least: int, most: int) -> np.ndarray:
    """Return the number of votes that each question needs in all, int64 (n,), given its votes so far.

    counts: int (n, 3), the yes, no and unsure votes. undecided: bool (n,). A question needs `least` votes, and one more at
    a time while it is undecided and has fewer than `most`.
    """
    total = counts.sum(axis=1)
    more = np.where(undecided & (total < most), total + 1, total)
    return np.where(total < least, least, more)


def is_undecided(counts: np.ndarray) -> np.ndarray:
    """Return whether no answer yes or no has more than half of the votes, bool (n,); counts: int (n, 3)."""
    return 2 * counts[:, [YES, NO]].max(axis=1) <= counts.sum(axis=1)


class Assignment:
    """Votes, reservations and needs of n questions, which are asked in the order of their index.

    counts: int (n, 3), votes so far. undecided: bool (n,), by the verdicts. runs: int (n,), ascending; within a run, the
    questions with the fewest votes come first. closed: bool (n,), questions that are asked in other ways only.
    classes: int (n,), codes of their classes below `class_count`.
    """

    def __init__(
        self,
        counts: np.ndarray,
        undecided: np.ndarray,
        runs: np.ndarray,
        closed: np.ndarray,
        classes: np.ndarray,
        class_count: int,
        least: int,
        most: int,
    ) -> None:
        self.least, self.most = least, most
        self.counts = counts.astype(np.int64)
        self.runs, self.closed, self.classes = runs, closed, classes
        self.load = self.counts.sum(axis=1)  # votes and reservations
        self.wanted = votes_wanted(self.counts, undecided, least, most)
        self.open = (self.load < self.wanted) & ~closed
        asked = classes[~closed]
        self.class_votes = np.bincount(asked, self.counts.sum(axis=1)[~closed], class_count).astype(np.int64)
        """Votes so far by class, int64 (classes,)."""
        self.class_wanted = np.bincount(asked, self.wanted[~closed], class_count).astype(np.int64)
        """Votes needed in all by class, int64 (classes,)."""

    def next_question(self, blocked: np.ndarray) -> int | None:
        """Return the next open question that is not `blocked`, bool (n,), or None."""
        for start in range(0, len(self.open), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            free = self.open[chunk] & ~blocked[chunk]
            first = int(free.argmax())
            if free[first]:
                return self._fewest_votes(start + first, blocked)
        return None

    def _fewest_votes(self, first: int, blocked: np.ndarray) -> int:
        """Return the question with the fewest votes in the run of `first`, its first open question."""
        end = int(np.searchsorted(self.runs, self.runs[first], "right"))
        free = first + np.flatnonzero(self.open[first:end] & ~blocked[first:end])
        return int(free[self.load[free].argmin()])

    def is_open(self, question: int) -> bool:
        """Return whether a question needs a vote that nobody has reserved."""
        return bool(self.open[question])

    def reserve(self, question: int, votes: int = 1) -> None:
        """Reserve a vote on a question, or release one with votes=-1."""
        self.load[question] += votes
        self.open[question] = self.load[question] < self.wanted[question] and not self.closed[question]

    def add(self, question: int, answer: int, votes: int = 1) -> None:
        """Count a vote, a code into ANSWERS, or take one back with votes=-1."""
        self.counts[question, answer] += votes
        counts = self.counts[[question]]
        before = self.wanted[question]
        self.wanted[question] = votes_wanted(counts, is_undecided(counts), self.least, self.most)[0]
        if not self.closed[question]:
            self.class_votes[self.classes[question]] += votes
            self.class_wanted[self.classes[question]] += self.wanted[question] - before
        self.reserve(question, votes)
