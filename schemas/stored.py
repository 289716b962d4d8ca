"""JSON files of state: parsed strictly, by a dataclass, where they are read."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NoReturn, TypeVar

from schemas.config import build
from schemas.errors import DataError

T = TypeVar("T")


def parse_json(text: str) -> Any:
    """Parse JSON as RFC 8259 has it. Raises ValueError for anything else, such as NaN, Infinity and 1e999."""
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def parse_stored(kind: type[T], text: str | bytes, where: str, remedy: str) -> T:
    """Parse the JSON object of a state file into the dataclass `kind`.

    Raises DataError that names the file (`where`), what is wrong, and `remedy`.
    """
    return _parse(kind, text, where, remedy)[0]


def parse_given(kind: type[Any], text: str | bytes, where: str, remedy: str) -> dict[str, Any]:
    """Parse like `parse_stored`, and return the values of those keys that the file has."""
    record, raw = _parse(kind, text, where, remedy)
    return {name: value for name, value in asdict(record).items() if name in raw}


def _parse(kind: type[T], text: str | bytes, where: str, remedy: str) -> tuple[T, Mapping[str, Any]]:
    try:
        if not text.strip():
            raise ValueError("empty")
        raw = parse_json(text if isinstance(text, str) else text.decode("utf-8"))
        if not isinstance(raw, Mapping):
            raise ValueError(f"expected keys and values, got {type(raw).__name__}")
        return build(kind, raw, "the file"), raw
    except ValueError as error:
        problem = str(error).removeprefix("the file: ").partition("; give it in the file")[0]
        raise DataError(f"{where}: damaged ({problem}); {remedy}") from error


def to_json(content: Mapping[str, Any], indent: int | None = None) -> str:
    """Serialize as JSON. Raises ValueError for NaN and infinity, which JSON has no words for."""
    return json.dumps(content, indent=indent, allow_nan=False)


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number in JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large")
    return value
