"""The fuzz targets, one module each.

Each has `seeds()`, which yields small valid and odd inputs, `check(data)`, which raises an exception if the property that
the module's docstring states does not hold for some bytes, and perhaps WORDS, which the fuzzer inserts into inputs.
"""

import importlib
import pkgutil
from typing import Any

NAMES = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def load(name: str) -> Any:
    """Import a target by its name."""
    return importlib.import_module(f"{__name__}.{name}")
