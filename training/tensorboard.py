"""The epochs' rows as TensorBoard wants them, beside the JSON lines."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from schemas.errors import UsageError
from schemas.extras import install_command


def tensorboard_log(directory: Path) -> Callable[[Mapping[str, Any]], None]:
    """Return what writes a row: its numbers as curves, its loss histograms as histograms, by epoch.

    Raises UsageError if TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError as error:
        raise UsageError(f"--tensorboard: not installed; {install_command('tensorboard')}") from error
    writer = SummaryWriter(str(directory / "tensorboard"))

    def log(row: Mapping[str, Any]) -> None:
        for name, value in row.items():
            if isinstance(value, int | float):
                writer.add_scalar(name, value, row["epoch"])
        histogram = row.get("loss_histogram", {})
        for kind in ("clean", "noisy"):
            counts = histogram.get(kind, [])
            if any(counts):
                _add(kind, counts, histogram["bin"], row["epoch"])
        writer.flush()

    def _add(kind: str, counts: list[int], width: float, epoch: int) -> None:
        middles = [width * (place + 0.5) for place in range(len(counts))]
        total = sum(c * m for c, m in zip(counts, middles, strict=True))
        writer.add_histogram_raw(
            f"loss/{kind}", min=0.0, max=width * len(counts), num=sum(counts), sum=total,
            sum_squares=sum(c * m * m for c, m in zip(counts, middles, strict=True)),
            bucket_limits=[width * (place + 1) for place in range(len(counts))], bucket_counts=counts,
            global_step=epoch,
        )  # fmt: skip

    return log
