"""The two error types meant for users. Any other exception is a bug."""


class UsageError(ValueError):
    """An error in the command line or the configuration: exit code 2."""


class UnknownFlagError(UsageError):
    """A flag that neither this project nor Beam knows; `hint` says how to fix it."""

    def __init__(self, flag: str, hint: str) -> None:
        super().__init__(f"unknown flag {flag}; {hint}")
        self.flag = flag


class DataError(ValueError):
    """An error in the input or in stored data: exit code 1. The message says what is wrong, where, and how to fix it."""
