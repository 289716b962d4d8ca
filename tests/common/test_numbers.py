"""Numbers in a configuration that the code cannot work with are rejected."""

import dataclasses
import types
import typing
from collections.abc import Iterator
from typing import Any

import pytest

from common.config import build, merge
from common.errors import UsageError
from pipeline.config import BuildConfig
from training.config import TrainConfig
from training.study.grid import StudyConfig

BASES: dict[type, dict[str, Any]] = {
    BuildConfig: {"source": "x", "classes": ["a", "b"], "clean": [], "test": [], "web": [], "votes": []},
    TrainConfig: {},
    StudyConfig: {"levels": [0.0]},
}
ABSURD = [
    float("nan"),
    float("inf"),
    -float("inf"),
    "nan",
    "inf",
    "-inf",
    10**400,
    -(10**400),
    "x",
    "1e999",
    [],
    {},
]
NEGATIVE = {"seed", "seeds", "min_similarity"}


def numbers(kind: Any) -> Iterator[tuple[tuple[str, ...], bool, type]]:
    """Yield the path of every key that takes a number, whether it takes a list of them, and of which type."""
    for name, hint in typing.get_type_hints(kind).items():
        if dataclasses.is_dataclass(hint):
            yield from (((name, *path), many, one) for path, many, one in numbers(hint))
            continue
        choices = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        for choice in choices:
            if choice in (int, float):
                yield (name,), False, choice
            elif typing.get_origin(choice) is tuple and typing.get_args(choice)[0] in (int, float):
                yield (name,), True, typing.get_args(choice)[0]


KEYS = [(kind, *key) for kind in BASES for key in numbers(kind)]


def made(kind: type, path: tuple[str, ...], value: Any) -> Any:
    raw: Any = value
    for name in reversed(path):
        raw = {name: raw}
    return build(kind, merge(BASES[kind], raw), "config")


@pytest.mark.parametrize(
    ("kind", "path", "many", "number"), KEYS, ids=[".".join((key[0].__name__, *key[1])) for key in KEYS]
)
def test_what_is_no_sensible_number_is_refused_by_its_key(
    kind: type, path: tuple[str, ...], many: bool, number: type
) -> None:
    negative = [] if path[-1] in NEGATIVE else [-1]
    too_long = [2**63, -(2**63) - 1, 0.5] if number is int else []
    for value in [*ABSURD, *negative, *too_long]:
        with pytest.raises(UsageError) as caught:
            made(kind, path, [value] if many else value)
        assert path[-1] in str(caught.value) or path[-2] in str(caught.value)
        assert len(str(caught.value)) < 600


def test_all_keys_that_take_numbers_are_found() -> None:
    assert len(KEYS) > 60
    assert {("ingest", "size"), ("noise", "levels"), ("optimizer", "decay"), ("seeds",)} <= {
        path for _, path, *_ in KEYS
    }
