"""Ctrl-C as a request: the loop asks, saves and stops."""

import signal
import threading
from typing import Any, Self


class StopSignal:
    """Becomes true at the first Ctrl-C or SIGTERM inside its block; a second Ctrl-C stops at once.

    Outside the main thread, where Python allows no signal handlers, it stays false.
    """

    def __init__(self) -> None:
        self.seen = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        """Tell whether to stop."""
        return self.seen

    def _take(self, _number: int, _frame: object) -> None:
        self.seen = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
