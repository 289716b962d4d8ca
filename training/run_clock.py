"""The seconds of a run, and the times of its checkpoints."""

import math
import time

CHECKPOINT_SECONDS = 20.0  # minimum seconds between two checkpoints
CHECKPOINT_TIME_SHARE = 0.02  # maximum share of time spent on checkpoints


class RunClock:
    """Counts the seconds of a run over all of its starts, and says when the next checkpoint is due.

    `saves`: whether this process writes the checkpoints; in others none is ever due.
    """

    def __init__(self, saves: bool) -> None:
        self.saves = saves
        self.seconds = 0.0
        self._counted_until = 0.0
        self._next_checkpoint = math.inf

    def start(self) -> None:
        """Begin to count."""
        self._counted_until = time.monotonic()
        self._plan_checkpoint(self._counted_until + CHECKPOINT_SECONDS)

    def count(self) -> None:
        """Add the seconds since the last call, or since the start."""
        now = time.monotonic()
        self.seconds += now - self._counted_until
        self._counted_until = now

    @property
    def checkpoint_is_due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return time.monotonic() > self._next_checkpoint

    def checkpoint_written(self) -> None:
        """Plan the next checkpoint. Call `count` before writing one: the time since then was spent on it, and does not count."""
        began, self._counted_until = self._counted_until, time.monotonic()
        took = self._counted_until - began
        self._plan_checkpoint(self._counted_until + max(CHECKPOINT_SECONDS, took / CHECKPOINT_TIME_SHARE))

    def _plan_checkpoint(self, at: float) -> None:
        self._next_checkpoint = at if self.saves else math.inf
