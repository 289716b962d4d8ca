"""Errors of training."""

from common.errors import DataError

TRAIN_MORE_GENTLY = "try a smaller optimizer.learning_rate, optimizer.warmup_epochs=1 or precision=fp32"  # remedy of a DivergedError


class DivergedError(DataError):
    """The loss, or what the network predicts, is NaN or infinite."""
