"""Turn Ctrl-C and SIGTERM into a flag that the training loop polls."""

import signal
import threading
from typing import Any, Self


class StopSignal:
    """A flag that the first Ctrl-C or SIGTERM in the block sets; a second Ctrl-C raises KeyboardInterrupt.

    Outside the main thread, where Python allows no signal handlers, it is never set.
    """

    def __init__(self) -> None:
        self._received = False
        self._earlier_handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._earlier_handlers[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._earlier_handlers.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        """Return whether to stop."""
        return self._received

    def _receive(self, _number: int, _frame: object) -> None:
        self._received = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
