"""The rules of voting: which question a worker gets, what a vote changes, and what the page shows. No HTTP here."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from pipeline.vote.assignment import Assignment
from pipeline.vote.build_images import KeyIndex, image_keys
from pipeline.vote.earlier_votes import AnswersByWorker
from pipeline.vote.gold_questions import GoldChooser
from pipeline.vote.journal import JournalError, VoteJournal, VoteNotInFileError
from pipeline.vote.progress import progress_by_class, progress_of
from pipeline.vote.questions import Questions
from pipeline.vote.worker_state import RESERVED_SECONDS, WorkerState, check_worker_name
from schemas.vote import ANSWERS

AHEAD = 3  # questions that a page has besides the current one, to load their images
MAX_WORKERS = 200  # names that can start in one run
MAX_MILLISECONDS = 3_600_000  # a longer time says nothing about the answer
Reply = dict[str, Any]


class Refusal(Exception):
    """A request that changes nothing: HTTP status, and the message for the worker."""

    def __init__(self, status: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status, self.body = status, {"error": message, **more}


@dataclass(frozen=True)
class EarlierAnswers:
    """Answers from before the start: `all` of every file, and `own`, those in the vote file, which can be undone."""

    all: AnswersByWorker
    own: AnswersByWorker


class VoteService:
    """Questions, workers and journals of one run. All methods must be called by one thread at a time.

    journal: votes on candidates. gold_journal: votes on gold questions about clean images.
    """

    def __init__(
        self,
        questions: Questions,
        classes: Sequence[str],
        limits: tuple[int, int],
        earlier: EarlierAnswers,
        journal: VoteJournal,
        gold_journal: VoteJournal | None = None,
        gold_share: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.questions, self.classes, self.clock = questions, classes, clock
        self.gold = GoldChooser(questions, gold_share)
        self.assignment = Assignment(
            questions.counts, questions.undecided, questions.runs, questions.known >= 0, questions.classes,
            len(classes), *limits,
        )  # fmt: skip
        self.workers: dict[str, WorkerState] = {}
        self.gold_answers = np.zeros(len(classes), np.int64)
        """Gold questions answered so far, by class."""
        self._earlier, self._index = earlier, KeyIndex(questions.keys)
        self._journals = {True: journal, False: gold_journal}
        for name in earlier.all.workers:
            rows = earlier.all.questions_of(name)
            gold = np.unique(rows[questions.known[rows] >= 0])
            self.gold_answers += np.bincount(questions.classes[gold], minlength=len(classes))

    def start(self, name: str) -> Reply:
        """Admit a worker, or let one continue, and return the state of the page."""
        return self._state(self._worker(name))

    def answer(
        self,
        name: str,
        key: str,
        answer: str,
        seen_class: str | None,
        milliseconds: float | None,
        request: str,
    ) -> Reply:
        """Store a vote and return the state of the page.

        A repeated request changes nothing. Raises Refusal if the vote is not wanted, JournalError if it is not stored.
        """
        worker, question = self._worker(name), self._question(key)
        given = (self._answer_code(answer), self._seen_class(answer, seen_class, question))
        if request in worker.requests or worker.answers.get(question) == given:
            return self._state(worker)
        if worker.answered[question]:
            raise Refusal(409, "You have answered this question before.", **self._state(worker))
        is_gold, is_held = self.questions.known[question] >= 0, question in worker.held
        if not (is_held or is_gold or self.assignment.is_open(question)):
            state = self._state(worker)
            raise Refusal(
                409, "This question was given to others in the meantime; your answer is not stored.", **state
            )
        self._check_speed(worker)
        self._journal(question).append(self._vote(worker, question, answer, given[1], milliseconds))
        self._drop(worker, question)
        self.assignment.add(question, given[0])
        self._mark(worker, question, answered=True)
        self.gold_answers[self.questions.classes[question]] += is_gold
        worker.answers[question] = given
        worker.requests.append(request)
        return self._state(worker)

    def undo(self, name: str, key: str) -> Reply:
        """Remove the worker's vote on a question and ask it again; without such a vote, nothing changes."""
        worker, question = self._worker(name), self._question(key)
        if question not in worker.answers:
            return self._state(worker)
        self._check_speed(worker)
        try:
            self._journal(question).remove(self._named(worker, question))
        except VoteNotInFileError as error:  # for example, its class is spelled with other capitals
            del worker.answers[question]  # the next undo is of the vote before
            text = "This vote is spelled differently in the vote file and cannot be undone here."
            raise Refusal(409, text, **self._state(worker)) from error
        code, seen_class = worker.answers.pop(question)
        self.assignment.add(question, code, votes=-1)
        self._mark(worker, question, answered=False)
        self.gold_answers[self.questions.classes[question]] -= self.questions.known[question] >= 0
        self._hold(worker, question, 0)
        return self._state(worker) | {
            "undone": {"id": key, "answer": ANSWERS[code], "seen_class": seen_class}
        }

    def skip(self, name: str, key: str) -> Reply:
        """Put a question off; others may answer it."""
        worker, question = self._worker(name), self._question(key)
        self._check_speed(worker)
        if question in worker.held:
            self._drop(worker, question)
            worker.skipped.append(question)
            worker.blocked[question] = True
        return self._state(worker)

    def show_skipped(self, name: str) -> Reply:
        """Let the questions that a worker has skipped be asked again."""
        worker = self._worker(name)
        worker.blocked[worker.skipped] = worker.answered[worker.skipped]
        worker.skipped.clear()
        return self._state(worker)

    def leave(self, name: str) -> Reply:
        """Give the reserved questions of a worker to others."""
        if worker := self.workers.get(name):
            self._drop_all(worker)
        return {}

    def by_class(self) -> Reply:
        """Return the progress of every class."""
        names = map(str, self.classes)
        return {"classes": progress_by_class(names, self.assignment, self.gold_answers, self.gold_share)}

    @property
    def gold_share(self) -> float:
        """Share of gold questions among those that are asked, 0 if there are none."""
        return self.gold.share if self.gold.count else 0.0

    def _worker(self, text: str) -> WorkerState:
        name = text
        if name not in self.workers:
            try:
                name = check_worker_name(text, [*self._earlier.all.workers, *self.workers])
            except ValueError as error:
                raise Refusal(400, str(error)) from error
        if name not in self.workers:
            if len(self.workers) >= MAX_WORKERS:
                raise Refusal(
                    409,
                    f"{MAX_WORKERS} names have started; use one of them, or ask for `vote` to be restarted.",
                )
            answered = np.zeros(len(self.questions), bool)
            answered[self._earlier.all.questions_of(name)] = True
            answers = self._earlier.own.answers_of(name)
            given = int(answered.sum())
            self.workers[name] = WorkerState(name, answered, answered.copy(), answers, given=given)
        worker = self.workers[name]
        worker.last_seen = now = self.clock()
        for other in self.workers.values():
            if other.held and now - other.last_seen > RESERVED_SECONDS:
                self._drop_all(other)
        return worker

    def _state(self, worker: WorkerState) -> Reply:
        self._fill(worker)
        last = next(reversed(worker.answers), None)
        return {
            "worker": worker.name,
            "questions": [self._shown(question) for question in worker.held],
            "waiting": not worker.held and self._is_waiting(worker),
            "skipped": len(worker.skipped),
            "undo": None if last is None else self._shown(last),
            "progress": progress_of(self.assignment, self.gold_answers, self.gold_share)
            | {"own": int(worker.answered.sum())},
        }

    def _fill(self, worker: WorkerState) -> None:
        """Reserve questions until the page has AHEAD besides the current one."""
        while len(worker.held) <= AHEAD:
            question = self.assignment.next_question(worker.blocked)
            if question is None:
                return
            code = int(self.questions.classes[question])
            gold = self.gold.choose(worker.name, worker.given, code, worker.blocked)
            self._hold(worker, question if gold is None else gold, len(worker.held))
            worker.given += 1

    def _hold(self, worker: WorkerState, question: int, index: int) -> None:
        worker.held.insert(index, question)
        worker.blocked[question] = True
        self.assignment.reserve(question)

    def _drop(self, worker: WorkerState, question: int) -> None:
        if question in worker.held:
            worker.held.remove(question)
            worker.blocked[question] = worker.answered[question]
            self.assignment.reserve(question, -1)

    def _drop_all(self, worker: WorkerState) -> None:
        for question in worker.held.copy():
            self._drop(worker, question)

    def _is_waiting(self, worker: WorkerState) -> bool:
        """Return whether others hold questions that this worker could answer."""
        assignment = self.assignment
        lacking = (assignment.counts.sum(axis=1) < assignment.wanted) & ~assignment.closed
        return bool((lacking & ~worker.blocked).any())

    def _mark(self, worker: WorkerState, question: int, answered: bool) -> None:
        worker.answered[question] = worker.blocked[question] = answered
        if question in worker.skipped:
            worker.skipped.remove(question)

    def _question(self, key: str) -> int:
        is_key = len(key) == 16 and all(digit in "0123456789abcdef" for digit in key)
        question = self._index.find(int(key, 16)) if is_key else None
        if question is None:
            raise Refusal(404, "This question is not in the build; load the page again.")
        return question

    def _answer_code(self, answer: str) -> int:
        if answer not in ANSWERS:
            raise Refusal(400, "An answer is yes, no or unsure.")
        return ANSWERS.index(answer)

    def _seen_class(self, answer: str, seen_class: str | None, question: int) -> str | None:
        if seen_class is None:
            return None
        asked = self.classes[self.questions.classes[question]]
        if answer != "no" or seen_class not in self.classes or seen_class == asked:
            raise Refusal(
                400, "Only the answer no can name a class, one of the build but not the one asked about."
            )
        return seen_class

    def _check_speed(self, worker: WorkerState) -> None:
        if not worker.may_ask(self.clock()):
            raise Refusal(429, "Too many answers at once; please look at each image.")

    def _journal(self, question: int) -> VoteJournal:
        journal = self._journals[bool(self.questions.of_build[question])]
        if journal is None:
            raise JournalError("there is no file for votes on gold questions")
        return journal

    def _named(self, worker: WorkerState, question: int) -> dict[str, str]:
        row = {name: self.questions.pairs[name][question].as_py() for name in ("image_id", "class_name")}
        return row | {"worker_id": worker.name}

    def _vote(
        self,
        worker: WorkerState,
        question: int,
        answer: str,
        seen_class: str | None,
        milliseconds: float | None,
    ) -> Mapping[str, Any]:
        known_time = milliseconds is not None and 0 <= milliseconds <= MAX_MILLISECONDS
        seconds = f"{milliseconds / 1000:.3f}" if known_time and milliseconds is not None else None
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        vote = {"answer": answer, "seen_class": seen_class, "seconds": seconds, "time": now}
        return self._named(worker, question) | vote

    def _shown(self, question: int) -> Reply:
        image = image_keys(self.questions.pairs["image_id"].slice(question, 1))[0]
        return {
            "id": f"{int(self.questions.keys[question]):016x}",
            "image": f"{int(image):016x}",
            "class": int(self.questions.classes[question]),
        }
