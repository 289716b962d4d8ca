"""The retry policy of all HTTP requests: which responses are temporary, and how long to wait before the next attempt."""

import random
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime


def is_temporary(status: int) -> bool:
    """Whether another attempt may get another answer: HTTP 429 or 5xx."""
    return status == 429 or 500 <= status < 600


def retry_after(value: str) -> float | None:
    """Return the seconds that a Retry-After header asks to wait, given as a number or a date (RFC 9110, section 10.2.3).

    None if it is empty or unreadable.
    """
    if value.isdecimal() and value.isascii():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, IndexError, OverflowError, OSError):
        return None


@dataclass(frozen=True)
class RetryPolicy:
    """How often a request is attempted, and the longest wait in seconds between two attempts.

    backoff_seconds: upper bound of the first wait, which doubles with each attempt.
    """

    max_attempts: int
    max_wait_seconds: float
    backoff_seconds: float = 1.0

    def wait(self, attempt: int, requested: float | None) -> float | None:
        """Return the seconds to wait after failed attempt number `attempt` (from 1), or None to give up.

        requested: the wait in seconds that the server asks for; without it, the wait is drawn uniformly below the bound
        ("full jitter", https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter).
        """
        if attempt >= self.max_attempts or (requested or 0) > self.max_wait_seconds:
            return None
        if requested is not None:
            return requested
        return min(random.uniform(0, self.backoff_seconds * 2 ** (attempt - 1)), self.max_wait_seconds)
