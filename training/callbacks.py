"""Default callbacks of training functions."""

from collections.abc import Mapping
from typing import Any


def never_stop() -> bool:
    """Return False: do not stop."""
    return False


def ignore_row(_row: Mapping[str, Any]) -> None:
    """Ignore the metrics of an epoch."""
