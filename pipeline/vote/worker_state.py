"""What the page knows about one worker: answers, reserved questions, and how fast requests come."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from pipeline.rejections import printable
from pipeline.values import identifier_fault, normalize_column

RESERVED_SECONDS = 120.0  # how long the questions of a silent worker stay reserved
BURST, PER_SECOND = 20.0, 8.0  # requests at once, and requests per second in the long run
MAX_NAME = 60  # characters
_REMEMBERED = 500  # ids of requests


@dataclass
class WorkerState:
    """One worker.

    answered: bool (n,), questions with a vote of the worker in any file. blocked: bool (n,), these and those that are held
    or skipped. answers: code of the answer and class seen instead, by question, oldest first; these can be undone. held:
    questions that the page has, the current one first.
    """

    name: str
    answered: np.ndarray
    blocked: np.ndarray
    answers: dict[int, tuple[int, str | None]]
    held: list[int] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)
    given: int = 0
    last_seen: float = 0.0
    requests: deque[str] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    _allowance: float = BURST
    _counted_at: float = 0.0

    def may_ask(self, now: float) -> bool:
        """Count a request; return whether it is within the limits of speed."""
        self._allowance = min(BURST, self._allowance + (now - self._counted_at) * PER_SECOND)
        self._counted_at = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True


def check_worker_name(text: str, known: Iterable[str]) -> str:
    """Return the normalized name of a worker, in the spelling of a known one. Raises ValueError that says what to change."""
    name = _normalized(text)
    if name is None:
        raise ValueError("Type a name, such as a word that only you use here.")
    if len(name) > MAX_NAME:
        raise ValueError(f"The name has more than {MAX_NAME} characters; choose a shorter one.")
    if fault := identifier_fault(name):
        raise ValueError(f"The name {printable(name)!r} cannot be used: {fault}.")
    folded = name.casefold()
    return next((other for other in known if other.casefold() == folded), name)


def _normalized(text: str) -> str | None:
    value: str | None = normalize_column("worker_id", pa.array([text], pa.string()))[0].as_py()
    return value
