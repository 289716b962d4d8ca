"""Robust training on sets with label noise. It reads the tables of `schemas` and does not import the pipeline or Beam.

The names below are the public interface (docs/reference/python.md). They are imported on first use, so that
`import training` does not load torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from training.config import TrainConfig
    from training.data.torch_dataset import ImageDataset, open_set
    from training.export.folder import export_run
    from training.interface import train_network
    from training.loggers import Logger
    from training.models.load import load_network
    from training.robust_loss import (
        ELR,
        GCE,
        LabelSmoothing,
        MentorMix,
        MentorNet,
        Mixup,
        Reed,
        RobustLoss,
    )

_NAMES_BY_MODULE = {
    "training.config": ("TrainConfig",),
    "training.data.torch_dataset": ("ImageDataset", "open_set"),
    "training.export.folder": ("export_run",),
    "training.interface": ("train_network",),
    "training.loggers": ("Logger",),
    "training.models.load": ("load_network",),
    "training.robust_loss": (
        "ELR", "GCE", "LabelSmoothing", "MentorMix", "MentorNet", "Mixup", "Reed",
        "RobustLoss",
    ),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names}

__all__ = [
    "ELR",
    "GCE",
    "ImageDataset",
    "LabelSmoothing",
    "Logger",
    "MentorMix",
    "MentorNet",
    "Mixup",
    "Reed",
    "RobustLoss",
    "TrainConfig",
    "export_run",
    "load_network",
    "open_set",
    "train_network",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'training' has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
