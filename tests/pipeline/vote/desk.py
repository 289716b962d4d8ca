"""A voting service over a few questions without a build, and a clock that tests move."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.vote.build_images import KeyIndex
from pipeline.vote.earlier_votes import AnswersByWorker, read_rows, valid_votes
from pipeline.vote.journal import VoteJournal
from pipeline.vote.questions import Questions, question_keys
from pipeline.vote.service import EarlierAnswers, Reply, VoteService
from schemas.vote import ANSWERS

CLASSES = ["ant", "bee", "cow"]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """The service on a vote file, which can be started again, as after a kill."""

    def __init__(
        self,
        folder: Path,
        count: int,
        limits: tuple[int, int] = (3, 3),
        known: dict[int, int] | None = None,
        share: float = 0.0,
    ) -> None:
        self.path, self.count, self.limits = folder / "votes.csv", count, limits
        self.known, self.share, self.clock = known or {}, share, Clock()
        self.requests = 0
        self.start()

    def start(self) -> None:
        images = pa.array([f"image-{i}" for i in range(self.count)])
        self.pairs = pa.table({"image_id": images, "class_name": [CLASSES[i % 3] for i in range(self.count)]})
        self.journal = VoteJournal(str(self.path))
        rows = read_rows([] if self.journal.is_empty else [str(self.path)], CLASSES, self.pairs)
        keys = question_keys(self.pairs)
        index = KeyIndex(keys)
        votes = valid_votes(rows, self.pairs)
        counts = np.zeros((self.count, 3), np.int64)
        counts[index.positions(question_keys(votes.questions))] = votes.counts()
        known = np.full(self.count, -1, np.int8)
        known[list(self.known)] = list(self.known.values())
        undecided = 2 * counts[:, :2].max(axis=1) <= counts.sum(axis=1)
        questions = Questions(
            self.pairs, np.arange(self.count) % 3, keys, np.arange(self.count) // 4, counts, undecided, known, np.ones(self.count, bool)
        )  # fmt: skip
        answers = AnswersByWorker(rows, index)
        self.service = VoteService(
            questions,
            CLASSES,
            self.limits,
            EarlierAnswers(answers, answers),
            self.journal,
            None,
            self.share,
            self.clock,
        )

    def restart(self) -> None:
        """As after SIGKILL: all that is in memory is gone."""
        self.journal.close()
        self.start()

    def answer(
        self, worker: str, question: str, answer: str = "yes", seen: str | None = None, request: str = ""
    ) -> Reply:
        self.clock.now += 1
        self.requests += 1
        return self.service.answer(worker, question, answer, seen, 1200.0, request or f"r{self.requests}")

    def key(self, index: int) -> str:
        return f"{int(self.service.questions.keys[index]):016x}"

    def stored(self) -> list[tuple[str, str, str]]:
        """Image, worker and answer of each vote in the file."""
        if self.journal.is_empty:
            return []
        rows = read_rows([str(self.path)], CLASSES, self.pairs)
        return [(row["image_id"], row["worker_id"], row["answer"]) for row in rows.to_pylist()]


def wanted(answers: list[str], least: int, most: int) -> int:
    """Votes that a question with these answers needs in all."""
    total = len(answers)
    if total < least:
        return least
    majority = any(2 * answers.count(one) > total for one in ANSWERS[:2])
    return total if majority or total >= most else total + 1
