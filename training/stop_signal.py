"""Ctrl-C as a request: the loop asks, saves and stops."""

import signal


class StopSignal:
    """Becomes true at the first Ctrl-C or SIGTERM; a second Ctrl-C stops at once."""

    def __init__(self) -> None:
        """Take over the two signals of this process; only its main thread may."""
        self.seen = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._take)

    def __call__(self) -> bool:
        """Tell whether to stop."""
        return self.seen

    def _take(self, _number: int, _frame: object) -> None:
        self.seen = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
