"""What can go wrong in training and is no fault of the data or the command line."""


class DivergedError(RuntimeError):
    """The loss is no longer a number: exit code 1."""
