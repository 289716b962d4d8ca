"""Print the result of a verb."""

import json
from collections.abc import Mapping
from typing import Any


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
    return f"{value:.4f}" if isinstance(value, float) else str(value)
