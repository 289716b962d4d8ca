"""Simulated workers of different skills, who answer questions: is this image a CLASS?"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

FIRST, MOST = 3, 5  # answers per question: the minimum, and the maximum if answers disagree


@dataclass(frozen=True)
class Worker:
    """Answering behavior of one worker.

    right: probability of the right answer to an easy question. fooled: its reduction if a wrong image resembles the class.
    unsure: probability of the answer unsure. says: answer independent of the image, "yes" or "coin" (random).
    """

    worker_id: str
    skill: str
    right: float = 0.97
    fooled: float = 0.1
    unsure: float = 0.03
    says: str | None = None
    seconds: float = 3.0


@dataclass(frozen=True)
class Question:
    """One image and class with the truth; `near` if the image is wrong but resembles the class."""

    image_id: str
    class_name: str
    truth: bool
    near: bool = False


SKILLS: dict[str, tuple[float, Worker]] = {  # share of the workers, and their behavior
    "careless": (0.2, Worker("", "careless", right=0.82, fooled=0.2, unsure=0.06, seconds=1.8)),
    "always-yes": (0.07, Worker("", "always-yes", says="yes", seconds=0.9)),
    "spammer": (0.07, Worker("", "spammer", says="coin", seconds=0.6)),
}


def hire(count: int) -> list[Worker]:
    """Return `count` (at least 4) workers `w00`, `w01`, …: at least one for each of SKILLS, all others good."""
    crowd = [worker for share, worker in SKILLS.values() for _ in range(max(1, round(share * count)))]
    crowd += [Worker("", "good")] * (count - len(crowd))
    return [replace(worker, worker_id=f"w{i:02d}") for i, worker in enumerate(crowd)]


def answer(worker: Worker, question: Question, rng: np.random.Generator) -> str:
    """Return the answer of one worker: yes, no or unsure."""
    if worker.says == "yes":
        return "yes"
    if worker.says == "coin":
        return "yes" if rng.random() < 0.5 else "no"
    if rng.random() < worker.unsure * (3 if question.near else 1):
        return "unsure"
    right = rng.random() < worker.right - (worker.fooled if question.near else 0)
    return "yes" if question.truth == right else "no"


def _is_decided(answers: list[str]) -> bool:
    """Whether the first three answers agree or, with more answers, more than half of them."""
    most = max(answers.count("yes"), answers.count("no"))
    return most == FIRST if len(answers) == FIRST else 2 * most > len(answers)


def ask(questions: Iterable[Question], workers: list[Worker], seed: int) -> Iterator[dict[str, str]]:
    """Ask three workers each question and, unless they agree, up to five until more than half agree; yield rows of a vote file.

    The answers to a question depend only on the seed and its index in the list.
    """
    for question_index, question in enumerate(questions):
        rng = np.random.default_rng((seed, question_index))
        answers: list[str] = []
        for index in rng.permutation(len(workers))[:MOST]:
            if len(answers) >= FIRST and _is_decided(answers):
                break
            worker = workers[index]
            answers.append(answer(worker, question, rng))
            yield {
                "image_id": question.image_id,
                "class_name": question.class_name,
                "worker_id": worker.worker_id,
                "answer": answers[-1],
                "seconds": f"{worker.seconds * rng.lognormal(0, 0.4):.1f}",
            }
