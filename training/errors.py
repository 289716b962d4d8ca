"""Errors of training."""

from common.errors import DataError


class DivergedError(DataError):
    """The loss is NaN or infinite."""
