"""Print the result of a verb."""

import json
import sys
from collections.abc import Mapping
from typing import Any

from common.terminal import visible_line
from training.study.conclusions import run_sentence
from training.study.power import wilson


def print_result(
    result: dict[str, Any], as_json: bool, intervals: Mapping[str, tuple[float, float]] | None = None
) -> None:
    """Print a result as JSON, or one line per value; `intervals`: bounds of values, by name."""
    bounds = intervals or {}
    if as_json:
        print(json.dumps(result | ({"intervals": bounds} if bounds else {})))
        return
    for name, value in result.items():
        interval = "  [{:.4f}, {:.4f}]".format(*bounds[name]) if name in bounds else ""
        print(f"{name:>23}  {_shown(value)}{interval}")


def _shown(value: Any) -> str:
    """Return a value as text, floats with four decimals."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_shown(one)}" for name, one in value.items())
    return f"{value:.4f}" if isinstance(value, float) else visible_line(str(value))


def print_accuracies(result: dict[str, Any], images: int | None, key: str, as_json: bool) -> None:
    """Print a result with the 95 % intervals of its accuracies on `images` images, and what the accuracy `key` can show."""
    names = ("accuracy", "final_accuracy", "final_accuracy_raw", "best_accuracy", "selected_accuracy")
    measured = {name: result[name] for name in names if result.get(name) is not None} if images else {}
    print_result(result, as_json, {name: wilson(value, images or 0) for name, value in measured.items()})
    if images and not as_json:
        print(run_sentence(result[key], images))


def print_choice(why: str) -> None:
    """Print which recipe was chosen, and why; nothing if it was named."""
    if why:
        print(f"{why}; choose another with --recipe", file=sys.stderr)
