"""Print the result of a verb."""

import json
from typing import Any


def print_result(result: dict[str, Any], as_json: bool) -> None:
    """Print a result as JSON, or one line per value."""
    if as_json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:>20}  {value:.4f}" if isinstance(value, float) else f"{name:>20}  {value}")
