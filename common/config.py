"""Typed configuration: frozen dataclasses filled from YAML and `--set key=value`; unknown keys are errors."""

import dataclasses
import functools
import math
import os
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from typing import Any, Literal, TypeVar

import yaml

from common.errors import UsageError

_BOOL, _TEXT, _MERGE = (f"tag:yaml.org,2002:{name}" for name in ("bool", "str", "merge"))
_WORDS = {"yes": True, "on": True, "no": False, "off": False}  # booleans of YAML 1.1

MAX_SECONDS = 30 * 24 * 3600
"""Upper limit of durations: beyond it, libraries fail, or the value is a mistake."""

T = TypeVar("T")
Condition = Callable[[Any], bool]  # a predicate of a whole configuration


def _always(_config: Any) -> bool:
    return True


@dataclasses.dataclass(frozen=True)
class Mark:
    """What a configuration field affects; set by declaring the field with `output`, `fetching` or `operational`."""

    output: bool = False
    """A changed value changes what a stage writes, so the stage runs again."""
    fetching: bool = False
    """A changed value changes which fetches fail, so failed URLs are fetched again."""
    stages: Mapping[str, Condition] = dataclasses.field(default_factory=dict)
    """For a top-level field or section: the stages whose output it affects, each with a condition."""

    @property
    def kinds(self) -> list[str]:
        """Names of what the field affects; ["operational"] if it affects no result."""
        names = {"output": self.output, "fetch": self.fetching}
        return [name for name, affected in names.items() if affected] or ["operational"]


def output(
    default: Any = dataclasses.MISSING,
    *,
    default_factory: Any = dataclasses.MISSING,
    stages: Sequence[str] | Mapping[str, Condition] = (),
    fetching: bool = False,
) -> Any:
    """Declare a field that affects the output of a stage; without a default, the field is required.

    `stages` lists the stages of a top-level field or section, or maps each to the condition under which the field
    affects it. With `fetching`, the field also affects which fetches fail.
    """
    conditions = stages if isinstance(stages, Mapping) else dict.fromkeys(stages, _always)
    return _marked(Mark(True, fetching, conditions), default, default_factory)


def fetching(default: Any = dataclasses.MISSING, *, default_factory: Any = dataclasses.MISSING) -> Any:
    """Declare a field that affects which fetches fail but not the results of successful fetches."""
    return _marked(Mark(fetching=True), default, default_factory)


def operational(default: Any = dataclasses.MISSING, *, default_factory: Any = dataclasses.MISSING) -> Any:
    """Declare a field that affects no result, such as speed, memory, a limit that stops the build, or an input path."""
    return _marked(Mark(), default, default_factory)


def _marked(mark: Mark, default: Any, default_factory: Any) -> Any:
    return dataclasses.field(default=default, default_factory=default_factory, metadata={"mark": mark})


def mark_of(field: dataclasses.Field[Any]) -> Mark:
    """Return the mark of a field. Raises KeyError if it has none."""
    mark: Mark = field.metadata["mark"]
    return mark


def stage_values(config: Any, stage: str) -> dict[str, Any]:
    """Return the values of a configuration that affect the output of a stage, in JSON types; sections are nested."""
    result = {}
    for field in dataclasses.fields(config):
        affects = mark_of(field).stages.get(stage)
        if affects and affects(config):
            value = getattr(config, field.name)
            result[field.name] = output_values(value) if dataclasses.is_dataclass(value) else plain(value)
    return result


def output_values(section: Any) -> dict[str, Any]:
    """Return the values of a section that affect the output of its stage, in JSON types."""
    return {name: plain(getattr(section, name)) for name in output_names(type(section))}


def output_names(section: type) -> list[str]:
    """Return the names of the fields of a section that affect the output of its stage."""
    return [field.name for field in dataclasses.fields(section) if mark_of(field).output]


def fetching_values(section: Any) -> dict[str, Any]:
    """Return the values of a section that affect which fetches fail, in JSON types."""
    marked = [field for field in dataclasses.fields(section) if mark_of(field).fetching]
    return {field.name: plain(getattr(section, field.name)) for field in marked}


def plain(value: Any) -> Any:
    """Return a configuration value in JSON types."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def percent_hint(value: float) -> str:
    """Return '; 30 % is 0.3' for a number that looks like a percentage where a share is expected, else ''."""
    return f"; {value:g} % is {value / 100:g}" if 1 <= value <= 100 else ""


def require_share(name: str, value: float) -> None:
    """Raise ValueError that names the key unless the value is a share from 0 to 1."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is a share from 0 to 1, got {value:g}{percent_hint(value)}")


def parse_overrides(overrides: Iterable[str]) -> dict[str, Any]:
    """Turn `a.b=1` strings into nested dictionaries; values are read as YAML, and later ones override earlier ones."""
    result: dict[str, Any] = {}
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"--set {text!r}: expected KEY=VALUE; write it as --set KEY=VALUE")
        node = result
        *parents, last = key.strip().split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise UsageError(
                    f"--set {text!r}: {parent!r} is already set to {node!r}; remove one of the two"
                )
        try:
            loaded = _load(value)
        except yaml.YAMLError as error:
            problem = getattr(error, "problem", None) or "control characters; remove them"
            remedy = "" if ";" in problem else "; put text in quotes"
            raise UsageError(f"--set {text!r}: the value is not valid YAML: {problem}{remedy}") from error
        if isinstance(node.get(last), dict):
            if not isinstance(loaded, Mapping):
                raise UsageError(
                    f"--set {text!r}: {last!r} is already set to {node[last]!r}; remove one of the two"
                )
            loaded = merge(node[last], loaded)
        node[last] = loaded
    return result


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` overridden by `over`, recursively; neither is changed."""
    result = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merge(result[key], value) if both else value
    return result


def parse_yaml(text: str, where: str) -> dict[str, Any]:
    """Parse a YAML mapping. Raises UsageError naming the file and line."""
    try:
        raw = _load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{where}: {error}") from error
    if not isinstance(raw, Mapping):
        raise UsageError(f"{where}: expected keys and values at the top level, got {type(raw).__name__}")
    return dict(raw)


class _Loader(yaml.SafeLoader):
    """Loader that reads yes, no, on and off as text, like YAML 1.2; `_value` converts them where a bool is expected."""

    yaml_implicit_resolvers = {  # noqa: RUF012  (the class attribute that yaml documents)
        first: [
            (tag, re.compile("(?:true|false|True|False|TRUE|FALSE)$") if tag == _BOOL else pattern)
            for tag, pattern in resolvers
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return the value of a node. Raises MarkedYAMLError where SafeLoader raises others: 2026-13-45, `!!bool x`."""
        try:
            value = super().construct_object(node, deep)
            if isinstance(value, int):
                str(value)  # raises ValueError for thousands of digits, which hexadecimal and 1:30 can write
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            kind = node.tag.rpartition(":")[2]
            raise yaml.MarkedYAMLError(
                problem=f"{str(node.value)[:80]!r} is not a valid {kind}; correct it, or put text in quotes",
                problem_mark=node.start_mark,
            ) from error
        return expand_home(_storable(value, node)) if isinstance(value, str) else value


def expand_home(text: str) -> str:
    """Return a path below `~`, as the shell writes the home folder, as an absolute path, and other text as it is."""
    return os.path.expanduser(text) if text.startswith("~/") else text


def _storable(text: str, node: yaml.Node) -> str:
    """Return text with surrogate pairs, which JSON escapes, as characters. Raises MarkedYAMLError if no file can hold it."""
    try:
        joined = text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        joined = "\0"
    if "\0" in joined:
        raise yaml.MarkedYAMLError(
            problem=f"{text[:80]!r} has the character NUL or half of a character (\\ud800 to \\udfff); remove the escape",
            problem_mark=node.start_mark,
        )
    return joined


def _load(text: str) -> Any:
    """Parse YAML. Keys are read as text, and duplicate keys are errors. Raises yaml.YAMLError."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        _check_keys(node, set())
        return None if node is None else loader.construct_document(node)
    except RecursionError as error:
        raise yaml.YAMLError("nested too deeply") from error


def _check_keys(node: yaml.Node | None, checked: set[int]) -> None:
    """Raise MarkedYAMLError for a duplicate key, which the parser would silently accept."""
    if id(node) in checked:  # an alias
        return
    checked.add(id(node))
    if isinstance(node, yaml.MappingNode):
        names: set[str] = set()
        for key, value in node.value:
            _check_keys(value, checked)
            if isinstance(key, yaml.ScalarNode) and key.value in names:
                raise yaml.MarkedYAMLError(
                    problem=f"duplicate key {key.value!r}", problem_mark=key.start_mark
                )
            names.add(str(key.value))
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                key.tag = _TEXT  # keys such as 1, 010, yes and null are names, not values
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _check_keys(value, checked)


def build(kind: type[T], raw: Mapping[str, Any], where: str = "config") -> T:
    """Construct the dataclass `kind` from `raw`, recursively.

    Raises UsageError for unknown keys (with the nearest known key), missing keys, values of a wrong type, and
    ValueErrors of `__post_init__`; the message names the key. A dataclass may list former names of its keys in the class
    variable `RENAMED`; the error for such a key gives the current name, with its section if it moved. `RENAMED_VALUES`
    does the same for former values of a key.
    """
    assert dataclasses.is_dataclass(kind)
    hints = _hints(kind)
    known = {field.name: field for field in dataclasses.fields(kind) if field.init}
    for key in raw:
        if key not in known:
            if renamed := getattr(kind, "RENAMED", {}).get(key):
                section, _, name = renamed.rpartition(".")
                if section:
                    old = f"{where.rpartition('.')[2]}.{key}"
                    raise UsageError(f"{where}: {old} is now {renamed}; move it to the section {section!r}")
                raise UsageError(f"{where}: the key {key!r} is now called {name!r}; rename it")
            near = get_close_matches(str(key), known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
            raise UsageError(f"{where}: unknown key {key!r}; {hint}")
    for name, renamed in getattr(kind, "RENAMED_VALUES", {}).items():
        if isinstance(raw.get(name), bool | str) and raw[name] in renamed:
            new, names = renamed[raw[name]], ", ".join(typing.get_args(hints[name]))
            raise UsageError(
                f"{where}.{name}: {str(raw[name]).lower()} is now {new} (one of {names}); write that"
            )
    values = {name: _value(hints[name], raw[name], f"{where}.{name}") for name in known if name in raw}
    for name, field in known.items():
        optional = (
            field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        )
        if name not in values and not optional:
            raise UsageError(
                f"{where}: the key {name!r} is missing; give it in the file or with --set {name}=…"
            )
    try:
        return kind(**values)
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from error


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    """Return the type hints of a class; cached, because a manifest needs those of a shard many times."""
    return typing.get_type_hints(kind)


def _value(kind: Any, raw: Any, where: str) -> Any:
    """Check a value against its annotation, and convert it to types that YAML lacks (tuples, floats)."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        if not isinstance(raw, Mapping):
            raise UsageError(f"{where}: expected keys and values, got {raw!r}")
        return build(typing.cast(type, kind), raw, where)
    if origin in (typing.Union, types.UnionType):
        if raw is None and type(None) in arguments:
            return None
        problems = []
        for choice in arguments:
            if choice is type(None):
                continue
            try:
                return _value(choice, raw, where)
            except UsageError as error:
                problems.append(str(error))
        raise UsageError("; or ".join([problems[0], *(p.removeprefix(f"{where}: ") for p in problems[1:])]))
    if origin is Literal:
        if raw not in arguments:
            near = get_close_matches(str(raw), list(map(str, arguments)), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UsageError(f"{where}: {raw!r} is not one of {', '.join(map(str, arguments))}{hint}")
        return raw
    if origin is tuple:
        if not isinstance(raw, list | tuple):
            raise UsageError(f"{where}: expected a list, got {raw!r}")
        if _are_valid_numbers(arguments[0], raw):
            return tuple(value + 0 for value in raw)  # 0.0 for -0.0
        return tuple(_value(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(raw))
    if origin is dict:
        if not isinstance(raw, Mapping):
            raise UsageError(f"{where}: expected keys and values, got {raw!r}")
        return {str(key): _value(arguments[1], item, f"{where}.{key}") for key, item in raw.items()}
    if kind is float and isinstance(raw, int | str) and not isinstance(raw, bool):
        with suppress(ValueError, OverflowError):
            raw = float(raw)  # YAML 1.1 reads 1e-3 as a string
    if isinstance(raw, float) and not math.isfinite(raw) and kind is float:
        raise UsageError(f"{where}: expected a finite number, got {raw}")
    if isinstance(raw, int) and kind is int and not -(2**63) <= raw < 2**63:
        raise UsageError(f"{where}: expected a 64-bit integer, got {_short(raw)}")
    if kind is bool and isinstance(raw, str) and raw.lower() in _WORDS:
        return _WORDS[raw.lower()]
    if kind is float and isinstance(raw, float):
        return raw + 0  # 0.0 for -0.0, which would be another name of a set and another key of a stage
    if kind is Any or (isinstance(raw, kind) and not (kind is int and isinstance(raw, bool))):
        return raw
    hint = ""
    if kind is str and not isinstance(raw, list | Mapping):
        # The value as written is lost: 010 is read as 8, and 1.10 as 1.1.
        read = "no value" if raw is None else type(raw).__name__
        hint = f"; YAML reads it as {read}, so write the text in quotes"
    raise UsageError(f"{where}: expected {kind.__name__}, got {_short(raw)}{hint}")


def _are_valid_numbers(kind: Any, values: Sequence[Any]) -> bool:
    """Return whether all values are valid numbers of type `kind`.

    A histogram has many, and checking them together takes a fraction of the time.
    """
    if kind not in (int, float) or {type(value) for value in values} != {kind}:
        return False
    if kind is float:
        return all(map(math.isfinite, values))
    return min(values) >= -(2**63) and max(values) < 2**63


def _short(value: Any) -> str:
    """Return the repr of a value for an error message; of a very long one, only both ends."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:60]}…{text[-20:]}"
