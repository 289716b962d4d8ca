"""Metrics of a run: one JSON line per epoch, and how well the weights of a mentor separate right from wrong labels."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.atomic_file import write_text
from common.json_records import parse_given, to_json
from training.errors import TRAIN_MORE_GENTLY, DivergedError
from training.records import EpochRow

METRICS_FILE = "metrics.jsonl"
LOSS_BIN, LOSS_BINS = 0.25, 40  # loss histograms; the last bin holds all losses from 9.75 on
# histograms of ℓ − moving average, from −3 to 3; the first and last bin also count all values outside
DIFFERENCE_BIN, DIFFERENCE_BINS = 0.1, 60


class EpochTally:
    """Counts over one epoch: weights against clean labels, histograms of losses, and weights by loss difference."""

    def __init__(self, device: torch.device) -> None:
        # seen, clean, trusted, both, Σv
        self.counts = torch.zeros(5, dtype=torch.float64, device=device)
        # clean labels, then wrong labels
        self.bins = torch.zeros(2 * LOSS_BINS, dtype=torch.int64, device=device)
        # rows: examples, Σv; columns: clean labels, then wrong labels
        self.mentor = torch.zeros(2, 2 * DIFFERENCE_BINS, dtype=torch.float64, device=device)
        self.state = {"counts": self.counts, "bins": self.bins, "mentor": self.mentor}

    def add(
        self,
        weights: Tensor | None,
        losses: Tensor | None,
        differences: Tensor | None,
        is_clean: Tensor,
    ) -> None:
        """Add one batch: weights, losses and differences [B] or None, is_clean bool [B]."""
        if weights is not None:
            trusted = weights >= 0.5
            seen = torch.ones_like(trusted)
            rows = torch.stack((seen, is_clean, trusted, trusted & is_clean)).double()
            self.counts += torch.cat((rows, weights.double()[None])).sum(dim=1)
        if losses is not None:
            bins = (losses.nan_to_num(0.0) / LOSS_BIN).clamp(0, LOSS_BINS - 1).long() + LOSS_BINS * ~is_clean
            self.bins.scatter_add_(0, bins, torch.ones_like(bins))
        if weights is not None and differences is not None:
            bins = (differences.nan_to_num(0.0) / DIFFERENCE_BIN).floor() + DIFFERENCE_BINS // 2
            bins = bins.clamp(0, DIFFERENCE_BINS - 1).long() + DIFFERENCE_BINS * ~is_clean
            rows = torch.stack((torch.ones_like(weights), weights)).double()
            self.mentor.scatter_add_(1, bins.expand(2, -1), rows)

    def summary(self) -> dict[str, Any]:
        """Return the metrics of the epoch, and reset all counts.

        trusted: share of examples with v ≥ 0.5. data_utilization: mean v. mentor_precision: share of clean labels among
        trusted examples. mentor_recall: share of trusted examples among clean labels. loss_histogram: counts in bins of
        width 0.25. mentor_weights: number of examples and sum of v in bins of ℓ − moving average.
        """
        seen, clean, trusted, both, weight = self.counts.tolist()
        row: dict[str, Any] = {}
        if seen:
            row = {"trusted": trusted / seen, "data_utilization": weight / seen}
        if trusted:
            row["mentor_precision"] = both / trusted
        if seen and clean:
            row["mentor_recall"] = both / clean
        right, wrong = self.bins.view(2, LOSS_BINS).tolist()
        if any(right) or any(wrong):
            row["loss_histogram"] = {"bin": LOSS_BIN, "clean": right, "noisy": wrong}
        if bool(self.mentor[0].any()):
            count, total = self.mentor.view(2, 2, DIFFERENCE_BINS)
            row["mentor_weights"] = {
                "start": -DIFFERENCE_BIN * DIFFERENCE_BINS / 2,
                "bin": DIFFERENCE_BIN,
            }
            for label, number in (("clean", 0), ("noisy", 1)):
                row["mentor_weights"][label] = [int(n) for n in count[number].tolist()]
                row["mentor_weights"][f"{label}_sum"] = [round(v, 3) for v in total[number].tolist()]
        for tensor in self.state.values():
            tensor.zero_()
        return row


def append_row(directory: Path, row: Mapping[str, Any]) -> None:
    """Append the row of one epoch to metrics.jsonl. Raises DivergedError if a number is not finite."""
    try:
        line = to_json(row) + "\n"
    except ValueError as error:
        odd = sorted(
            name for name, value in row.items() if isinstance(value, float) and not math.isfinite(value)
        )
        raise DivergedError(
            f"{', '.join(odd) or 'a measurement'} of epoch {row.get('epoch')} is not a finite number; "
            f"{TRAIN_MORE_GENTLY}"
        ) from error
    with (directory / METRICS_FILE).open("a", encoding="utf-8") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())  # the row must be on disk before the checkpoint that follows


def read_rows(directory: Path) -> list[dict[str, Any]]:
    """Return the rows written so far, or none without a file. An incomplete last line is ignored.

    Raises DataError naming the line if any other line is damaged.
    """
    path = directory / METRICS_FILE
    if not path.is_file():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    remedy = f"delete {directory} and run the same command again"
    return [
        parse_given(EpochRow, line, f"{path}, line {number}", remedy) for number, line in enumerate(lines, 1)
    ]


def drop_rows_after(directory: Path, step: int) -> None:
    """Delete the rows after `step`; a run that resumes there writes them again."""
    path, rows = directory / METRICS_FILE, read_rows(directory)
    write_text(path, "".join(to_json(row) + "\n" for row in rows if row["step"] <= step))


def summarize(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the summary of a finished run.

    final: after the last epoch. best: of the epoch with the best test accuracy, an optimistic value because it is
    selected on the test set. selected: of the epoch with the best accuracy on held-out training images and their
    given labels, if any are held out.
    """
    last = rows[-1]
    measured = [row for row in rows if "test_accuracy" in row]
    best = max(measured, key=lambda row: row["test_accuracy"])
    speeds = sorted(row["images_per_second"] for row in rows)
    selected: dict[str, Any] = {}
    if "validation_accuracy" in last:
        chosen = max(measured, key=lambda row: row["validation_accuracy"])
        selected = {"selected_accuracy": chosen["test_accuracy"], "selected_epoch": chosen["epoch"]}
    return {
        "final_accuracy": last["test_accuracy"],
        "final_accuracy_raw": last["test_accuracy_raw"],
        "best_accuracy": best["test_accuracy"],
        "best_epoch": best["epoch"],
        **selected,
        **{key: last[key] for key in ("train_accuracy", "clean_accuracy", "memorized", "recovered")},
        "train_loss": last["train_loss"],
        "epochs": last["epoch"],
        "steps": last["step"],
        "images_per_second": speeds[len(speeds) // 2],
    }
