"""What a run writes down: one JSON line per epoch, and what the weights were worth."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

FILE = "metrics.jsonl"


class Trust:
    """Counts, over an epoch, how well weights v ≥ 0.5 pick the examples whose label is right."""

    def __init__(self, device: torch.device) -> None:
        self.counts = torch.zeros(4, dtype=torch.float64, device=device)  # seen, clean, trusted, both

    def add(self, weights: Tensor, is_clean: Tensor) -> None:
        """Take in one batch: weights [B], is_clean bool [B]."""
        trusted = weights >= 0.5
        seen = torch.ones_like(trusted)
        self.counts += torch.stack((seen, is_clean, trusted, trusted & is_clean)).sum(dim=1)

    def summary(self) -> dict[str, float]:
        """Return the share trusted, precision (trusted that are clean) and recall (clean that are trusted)."""
        seen, clean, trusted, both = self.counts.tolist()
        if not seen:
            return {}
        result = {"trusted": trusted / seen}
        if trusted:
            result["mentor_precision"] = both / trusted
        if clean:
            result["mentor_recall"] = both / clean
        return result


def append(directory: Path, row: Mapping[str, Any]) -> None:
    """Add one epoch's row."""
    with (directory / FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def read(directory: Path) -> list[dict[str, Any]]:
    """Return the rows written so far; none if there is no file. A last line that was cut off is left out."""
    path = directory / FILE
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines]


def keep_until(directory: Path, step: int) -> None:
    """Drop the rows written after `step`: a run that resumes there writes them again."""
    path, rows = directory / FILE, read(directory)
    temporary = path.with_name(f".{FILE}.{os.getpid()}")
    temporary.write_text(
        "".join(json.dumps(row) + "\n" for row in rows if row["step"] <= step), encoding="utf-8"
    )
    os.replace(temporary, path)


def result(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what a finished run's rows amount to: the last epoch's measurements, and the best test accuracy."""
    last = rows[-1]
    best = max((row for row in rows if "test_accuracy" in row), key=lambda row: row["test_accuracy"])
    speeds = sorted(row["images_per_second"] for row in rows)
    return {
        "final_accuracy": last["test_accuracy"],
        "final_accuracy_raw": last["test_accuracy_raw"],
        "best_accuracy": best["test_accuracy"],
        "best_epoch": best["epoch"],
        **{key: last[key] for key in ("train_accuracy", "clean_accuracy", "memorised", "recovered")},
        "train_loss": last["train_loss"],
        "epochs": last["epoch"],
        "steps": last["step"],
        "images_per_second": speeds[len(speeds) // 2],
    }
