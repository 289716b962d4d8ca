"""Errors of training."""

from common.errors import DataError

# Words in a RuntimeError of torch: no memory on the CPU is left, and an operation has no deterministic kernel.
NO_MEMORY = "DefaultCPUAllocator: "
NOT_DETERMINISTIC = " does not have a deterministic implementation"

# Remedy of a DivergedError.
TRAIN_MORE_GENTLY = "try a smaller optimizer.learning_rate, optimizer.warmup_epochs=1 or precision=fp32"


class DivergedError(DataError):
    """The loss, or what the network predicts, is NaN or infinite."""
