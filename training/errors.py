"""What can go wrong in training."""

from common.errors import DataError


class DivergedError(DataError):
    """The loss is no longer a number: exit code 1."""
