"""The logger `tensorboard`: scalars and loss histograms by epoch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import UsageError
from common.extras import install_command


def check_installed() -> None:
    """Raise UsageError if TensorBoard is not installed."""
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ModuleNotFoundError as error:
        raise UsageError(
            f"--logger tensorboard: TensorBoard is not installed; {install_command('tensorboard')}"
        ) from error


class TensorBoard:
    """A logger that writes event files to RUN/tensorboard; requires TensorBoard (`check_installed`)."""

    def __init__(self, directory: Path, _description: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter  # an optional package

        self._writer = SummaryWriter(str(directory / "tensorboard"))

    def log(self, row: Mapping[str, Any], /) -> None:
        """Write the scalars and the loss histograms of an epoch."""
        for name, value in row.items():
            if isinstance(value, int | float):
                self._writer.add_scalar(name, value, row["epoch"])
        histogram = row.get("loss_histogram", {})
        for labels in ("clean", "noisy"):
            counts = histogram.get(labels, [])
            if any(counts):
                self._add_histogram(labels, counts, histogram["bin"], row["epoch"])
        self._writer.flush()

    def finish(self, _result: Mapping[str, Any] | None, /) -> None:
        """Close the files."""
        self._writer.close()

    def _add_histogram(self, labels: str, counts: list[int], width: float, epoch: int) -> None:
        middles = [width * (index + 0.5) for index in range(len(counts))]
        total = sum(c * m for c, m in zip(counts, middles, strict=True))
        self._writer.add_histogram_raw(
            f"loss/{labels}", min=0.0, max=width * len(counts), num=sum(counts), sum=total,
            sum_squares=sum(c * m * m for c, m in zip(counts, middles, strict=True)),
            bucket_limits=[width * (index + 1) for index in range(len(counts))], bucket_counts=counts,
            global_step=epoch,
        )  # fmt: skip
