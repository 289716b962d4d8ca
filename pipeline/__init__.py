"""Beam: from web images and worker votes to shards. Never imports training, never needs torch.

The names below are the public interface (docs/reference/python.md), beside the command line. They are imported on first
use, so that `import pipeline` does not load Beam.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.interface import Verification, build_dataset, verify_dataset

__all__ = ["Verification", "build_dataset", "verify_dataset"]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in __all__:
        raise AttributeError(f"module 'pipeline' has no attribute {name!r}")
    return getattr(import_module("pipeline.interface"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
