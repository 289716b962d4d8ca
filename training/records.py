"""The JSON records of a run: configuration, checkpoint progress, metrics of each epoch, result."""

from dataclasses import dataclass
from typing import Any

OptionalNumber = float | None


@dataclass(frozen=True, kw_only=True)
class RunDescription:
    """Content of config.json."""

    digest: str
    data: dict[str, Any]
    config: dict[str, Any]
    input_digests: dict[str, str] | None = None
    threads: int | None = None
    precision: str | None = None
    weight_decay_accuracies: dict[str, float] | None = None


@dataclass(frozen=True, kw_only=True)
class RunData:
    """The sets of a run, in the section `data` of config.json; image_size: height and width in pixels."""

    train: str
    train_digest: str
    test: str
    test_digest: str
    class_names: tuple[str, ...]
    image_size: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.image_size) != 2 or not all(1 <= side <= 65_536 for side in self.image_size):
            raise ValueError(f"image_size must be two numbers of 1 to 65,536, got {self.image_size}")
        for text in (self.train, self.train_digest, self.test, *self.class_names):
            try:
                text.encode()
            except UnicodeEncodeError as error:  # a lone surrogate, which no text file can hold
                raise ValueError(f"{text!a} is not valid Unicode") from error


@dataclass(frozen=True, kw_only=True)
class CheckpointProgress:
    """State in the header of a checkpoint: steps and epochs done, and the position in the current epoch."""

    step: int
    epoch: int
    position: int
    seconds: float

    def __post_init__(self) -> None:
        if min(self.step, self.epoch, self.position) < 0:
            raise ValueError("step, epoch and position must not be negative")


@dataclass(frozen=True, kw_only=True)
class LossHistogram:
    """Counts of clean and wrong labels by loss (training/metrics.py)."""

    bin: float
    clean: tuple[int, ...]
    noisy: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class MentorWeightHistogram(LossHistogram):
    """Counts and sums of weights by loss minus its moving average (training/metrics.py)."""

    start: float
    clean_sum: tuple[float, ...]
    noisy_sum: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class EpochRow:
    """One line of metrics.jsonl; training/study/results.py explains the keys."""

    step: int
    epoch: int
    learning_rate: float
    train_loss: float
    images_per_second: float
    seconds: float
    test_accuracy: OptionalNumber = None
    test_accuracy_raw: OptionalNumber = None
    validation_accuracy: OptionalNumber = None
    train_accuracy: OptionalNumber = None
    clean_accuracy: OptionalNumber = None
    memorized: OptionalNumber = None
    recovered: OptionalNumber = None
    clean_share: OptionalNumber = None
    trusted: OptionalNumber = None
    data_utilization: OptionalNumber = None
    mentor_precision: OptionalNumber = None
    mentor_recall: OptionalNumber = None
    loss_histogram: LossHistogram | None = None
    mentor_weights: MentorWeightHistogram | None = None


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """Content of result.json; training/study/results.py explains the keys."""

    final_accuracy: float
    final_accuracy_raw: float
    best_accuracy: float
    best_epoch: int
    epochs: int
    steps: int
    seconds: float
    train_loss: float
    images_per_second: float
    test_images: int | None = None
    predicted_seconds: OptionalNumber = None
    selected_accuracy: OptionalNumber = None
    selected_epoch: int | None = None
    train_accuracy: OptionalNumber = None
    clean_accuracy: OptionalNumber = None
    memorized: OptionalNumber = None
    recovered: OptionalNumber = None
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

    def __post_init__(self) -> None:
        if not 0 <= self.final_accuracy <= 1 or (self.test_images is not None and self.test_images < 1):
            raise ValueError("final_accuracy must be 0 to 1, and test_images at least 1")
