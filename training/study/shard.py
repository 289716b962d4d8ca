"""The flag `--shard I/N` of a study."""

import re
from dataclasses import dataclass

from common.errors import UsageError


@dataclass(frozen=True)
class ShardOfRuns:
    """Part `number` of `count` of the runs of a grid; numbers start at 1."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}-of-{self.count}"


def parse_shard(text: str) -> ShardOfRuns:
    """Parse `I/N`, such as 1/4. Raises UsageError for another form, or if I is not from 1 to N."""
    found = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
    number, count = (int(part) for part in found.groups()) if found else (0, 0)
    if not 1 <= number <= count:
        raise UsageError(
            f"--shard: expected I/N with I from 1 to N, such as 1/4, got {text!r}; number a Slurm job array from 1 "
            "(--array=1-N)"
        )
    return ShardOfRuns(number, count)
