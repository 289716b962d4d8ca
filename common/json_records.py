"""Strict parsing of JSON state files into dataclasses."""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any, NoReturn, TypeVar

from common.config import build
from common.errors import DataError

T = TypeVar("T")
_FILE = "the file"  # the name that `build` uses in messages


def parse_json(text: str) -> Any:
    """Parse JSON according to RFC 8259. Raises ValueError for extensions such as NaN, Infinity and 1e999."""
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def parse_stored(kind: type[T], text: str | bytes, where: str, remedy: str) -> T:
    """Parse the JSON object of a state file into the dataclass `kind`.

    Raises DataError with the file (`where`), the problem and `remedy`.
    """
    with _named(where, remedy):
        return build(kind, _parse_object(text), _FILE)


def parse_given(kind: type[Any], text: str | bytes, where: str, remedy: str) -> dict[str, Any]:
    """Parse like `parse_stored`, but return a dictionary of the keys in the file.

    Keys that `kind` does not declare are returned unchanged.
    """
    with _named(where, remedy):
        raw = _parse_object(text)
        known = {field.name for field in fields(kind)} & raw.keys()
        record = build(kind, {name: raw[name] for name in known}, _FILE)
        return {
            name: _plain(getattr(record, name)) if name in known else value for name, value in raw.items()
        }


def _plain(value: Any) -> Any:
    """Return a value with dictionaries in place of dataclasses.

    dataclasses.asdict would also copy every number of a histogram, which takes most of the time of reading it.
    """
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple) and value and is_dataclass(value[0]):
        return tuple(map(_plain, value))
    return value


def _parse_object(text: str | bytes) -> Mapping[str, Any]:
    if not text.strip():
        raise ValueError("empty")
    raw = parse_json(text if isinstance(text, str) else text.decode("utf-8"))
    if not isinstance(raw, Mapping):
        raise ValueError(f"expected keys and values, got {type(raw).__name__}")
    return raw


@contextmanager
def _named(where: str, remedy: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        problem = str(error).removeprefix(f"{_FILE}: ").partition("; give it in the file")[0]
        raise DataError(f"{where}: damaged ({problem}); {remedy}") from error


def to_json(content: Mapping[str, Any], indent: int | None = None) -> str:
    """Serialize as JSON. Raises ValueError for NaN and infinity, which JSON cannot represent."""
    return json.dumps(content, indent=indent, allow_nan=False)


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a number in JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large")
    return value
