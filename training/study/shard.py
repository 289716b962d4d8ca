"""The flag `--shard I/N` of a study (no torch)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ShardOfRuns:
    """Part `number` of `count` of the runs of a grid; numbers start at 1."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}-of-{self.count}"
