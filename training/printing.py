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
        print(f"{name:>20}  {value:.4f}{interval}" if isinstance(value, float) else f"{name:>20}  {value}")
