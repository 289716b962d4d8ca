"""The two faults that a user can mend. Anything else that is raised is a fault of ours."""


class UsageError(ValueError):
    """The command line or the configuration is wrong: exit code 2."""


class UnknownFlagError(UsageError):
    """A flag that neither we nor Beam know; `hint` is what to do."""

    def __init__(self, flag: str, hint: str) -> None:
        super().__init__(f"unknown flag {flag}; {hint}")
        self.flag = flag


class DataError(ValueError):
    """The input or a stored dataset breaks a rule: exit code 1. The text names the place, the rule, the remedy."""
