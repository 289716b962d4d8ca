"""What a run writes as JSON: its description, the state of a checkpoint, a row for each epoch, and its result."""

from dataclasses import dataclass
from typing import Any

Number = float | None


@dataclass(frozen=True, kw_only=True)
class Description:
    """config.json: what a run is."""

    digest: str
    data: dict[str, Any]
    config: dict[str, Any]
    threads: int | None = None


@dataclass(frozen=True, kw_only=True)
class Progress:
    """State in the header of a checkpoint: what was done, in steps, epochs, and steps of the epoch under way."""

    step: int
    epoch: int
    position: int
    seconds: float

    def __post_init__(self) -> None:
        if min(self.step, self.epoch, self.position) < 0:
            raise ValueError("a count is negative")


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Examples by loss (training/metrics.py)."""

    bin: float
    clean: tuple[int, ...]
    noisy: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class MentorWeights(Histogram):
    """Examples, and the sum of their weights, by loss less its moving average (training/metrics.py)."""

    start: float
    clean_sum: tuple[float, ...]
    noisy_sum: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class EpochRow:
    """A line of metrics.jsonl; study/table.py says what the keys mean."""

    step: int
    epoch: int
    learning_rate: float
    train_loss: float
    images_per_second: float
    seconds: float
    test_accuracy: Number = None
    test_accuracy_raw: Number = None
    validation_accuracy: Number = None
    train_accuracy: Number = None
    clean_accuracy: Number = None
    memorized: Number = None
    recovered: Number = None
    trusted: Number = None
    data_utilization: Number = None
    mentor_precision: Number = None
    mentor_recall: Number = None
    loss_histogram: Histogram | None = None
    mentor_weights: MentorWeights | None = None


@dataclass(frozen=True, kw_only=True)
class Result:
    """result.json; study/table.py says what the keys mean."""

    final_accuracy: float
    final_accuracy_raw: float
    best_accuracy: float
    best_epoch: int
    epochs: int
    steps: int
    seconds: float
    train_loss: float
    images_per_second: float
    selected_accuracy: Number = None
    selected_epoch: int | None = None
    train_accuracy: Number = None
    clean_accuracy: Number = None
    memorized: Number = None
    recovered: Number = None
    parameters: int | None = None
    cores: int | None = None
    threads: int | None = None
    precision: str | None = None
    device: str | None = None
    cpu: str | None = None
    gpu: str | None = None
    version: str | None = None
    python: str | None = None
    torch: str | None = None
