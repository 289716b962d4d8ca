"""Train until a given step, and compare two runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from training import checkpoint
from training.config import TrainConfig
from training.data.shards import ImageSet
from training.trainer import Trainer

CPU = torch.device("cpu")
Make = Callable[..., TrainConfig]


def run_until(
    step: int,
    config: TrainConfig,
    sets: tuple[ImageSet, ImageSet],
    directory: Path,
    device: torch.device = CPU,
) -> None:
    """Train, or go on, until `step` steps are done; then stop as Ctrl-C does."""
    run = Trainer(config, *sets, device)
    with pytest.raises(KeyboardInterrupt):
        run.run(directory, resume=True, stop=lambda: run.step >= step)
    assert run.step == step


def timeless(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {k: v for k, v in row.items() if k not in ("images_per_second", "seconds", "predicted_seconds")}
        for row in rows
    ]


def equal(one: Path, other: Path) -> bool:
    a, b = (load_file(checkpoint.newest(path)) for path in (one, other))
    assert {"network0", "momentum", "average0", "epoch"} <= {name.partition(".")[0] for name in a}
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
