"""Write the pages of docs/reference/ that are made from the code: `python scripts/reference.py`."""

import argparse
import ast
import dataclasses
import importlib
import inspect
import pkgutil
import re
import textwrap
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import schemas
from common.config import mark_of
from pipeline import __main__ as pipeline_line
from pipeline.config import BuildConfig
from pipeline.ingest_config import PRESETS
from schemas.rejection import CODES
from schemas.table import Table
from training import __main__ as training_line
from training.config import TrainConfig
from training.study.grid import StudyConfig
from training.study.results import CURVE, RESULT

DOCS = Path(__file__).parent.parent / "docs"
AFFECTS = (
    "The column *affects* says what a changed value does to a finished build:",
    "",
    "- **output**: it changes what a stage writes, so that stage runs again, and those that read its tables.",
    "- **fetch**: it changes which fetches fail, so URLs that failed are fetched again. Bodies that were fetched are kept.",
    "- **operational**: it changes no result, so nothing runs again.",
)
MADE = "Generated from the code by `python scripts/reference.py`.\n"


def pages() -> dict[str, str]:
    """The text of each page, by its file name."""
    return {
        "reference/cli.md": cli(),
        "reference/config.md": config(),
        "reference/tables.md": tables(),
        "reference/rejections.md": rejections(),
    }


def cli() -> str:
    """Every verb with its flags, as the parsers have them."""
    lines = [
        "# The command line",
        "",
        MADE,
        "Exit codes of every verb: 0 success, 1 the data or the run failed, 2 wrong usage, 75 the --budget of a study is used",
        "up and runs are left, 130 interrupted (Ctrl-C; the same command continues), 141 nobody reads the output any more",
        "(`| head`). Results go to standard output, progress and errors to standard error. `--json` prints the result as one",
        "JSON value, and `--help` shows an example.",
    ]
    for prog, parser in (
        ("python -m pipeline", pipeline_line.parser()),
        ("python -m training", training_line.parser()),
    ):
        about = {action.dest: action.help for action in _subparsers(parser)._choices_actions}
        lines += ["", f"## {prog}", "", "| verb | what it does |", "|---|---|"]
        lines += [f"| [{name}](#{_anchor(prog, name)}) | {_cell(about[name] or '')} |" for name in about]
        for name, sub in verbs(parser).items():
            lines += ["", f"### {prog} {name}", "", f"{_sentence(sub.description or '')}", ""]
            lines += ["| flag | meaning |", "|---|---|"]
            lines += [f"| {_flag(action)} | {_cell(_help(sub, action))} |" for action in flags(sub)]
    with_beam = ", ".join(f"`{verb}`" for verb in pipeline_line.BEAM_VERBS)
    lines += [
        "",
        f"Flags that these verbs do not know are passed to Beam: {with_beam} (docs/how-to/dataflow.md).",
    ]
    return "\n".join(lines) + "\n"


def config() -> str:
    """Every key of the three kinds of YAML files, with default and meaning."""
    lines = [
        "# Configuration",
        "",
        MADE,
        "Keys are set in a YAML file, or with `--set key=value` (dotted: `--set ingest.size=84`). An unknown key is an error",
        "that suggests the nearest. Text that begins with `~/` is a path below your home folder.",
    ]
    for kind, title, where in (
        (BuildConfig, "A build", "`python -m pipeline build --config FILE`, and each of its stages"),
        (
            TrainConfig,
            "A training run",
            "`python -m training train --recipe NAME --set key=value`; a recipe sets these",
        ),
        (StudyConfig, "A study", "`python -m training study --config FILE`"),
    ):
        lines += ["", f"## {title}", "", where + ".", ""]
        if kind is BuildConfig:
            lines += [*AFFECTS, ""]
            lines += ["| key | type | default | affects | meaning |", "|---|---|---|---|---|"]
        else:
            lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
        lines += ["| " + " | ".join(cells) + " |" for cells in _keys(kind)]
        if kind is BuildConfig:
            lines += [
                "",
                "`ingest.preset` sets several values, which other keys of the section override:",
                "",
            ]
            lines += ["| preset | values |", "|---|---|"]
            lines += [
                f"| {name} | {', '.join(f'{key}: {_yaml(value)}' for key, value in values.items())} |"
                for name, values in PRESETS.items()
            ]
    return "\n".join(lines) + "\n"


def tables() -> str:
    """Return the page of all tables with their columns."""
    lines = [
        "# Tables",
        "",
        MADE,
        "Tables are Parquet files in folders committed by `_manifest.json`; `link_check` has one file per check, and tables that you",
        "bring may be CSV or JSON lines. The files contain the meaning of each column as",
        "metadata of its field.",
    ]
    for name, table in sorted(_all_tables()):
        lines += ["", f"## {name}", "", f"Key: {', '.join(table.key)}.", ""]
        lines += ["| column | type | meaning |", "|---|---|---|"]
        for field in table.schema:
            about = (field.metadata or {}).get(b"about", b"").decode()
            empty = " (may be empty)" if field.nullable else ""
            lines.append(f"| {field.name} | {_cell(str(field.type))} | {_cell(about)}{empty} |")
    return "\n".join(lines) + "\n"


def rejections() -> str:
    """Return the page of the rejection codes."""
    lines = [
        "# Rejection codes",
        "",
        MADE,
        "An input row that gives no result becomes a rejection: in `OUTPUT/ingest/rejections` for lists, in",
        "`OUTPUT/aggregate/rejections` for votes.",
        "",
        "| code | cause | remedy |",
        "|---|---|---|",
    ]
    lines += [f"| {code} | {_cell(about.cause)} | {_cell(about.remedy)} |" for code, about in CODES.items()]
    return "\n".join(lines) + "\n"


def verbs(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parser of each verb, by name."""
    return dict(_subparsers(parser).choices)


def _subparsers(parser: argparse.ArgumentParser) -> Any:
    return next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))


def flags(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """All flags and arguments but --help."""
    return [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]


def _flag(action: argparse.Action) -> str:
    name = action.option_strings[0] if action.option_strings else ""
    if action.nargs == 0:
        value = ""
    elif action.choices:
        value = "{" + ",".join(map(str, action.choices)) + "}"
    else:
        value = str(action.metavar or action.dest.upper()) + (" …" if action.nargs in ("+", "*") else "")
    needed = " (required)" if action.required and action.option_strings else ""
    return f"`{_cell(f'{name} {value}'.strip())}`{needed}"


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    return (action.help or "") % {"default": action.default, "prog": parser.prog}


def _keys(kind: type, prefix: str = "") -> Iterator[list[str]]:
    """The cells of a row for each key: name, type, default, what it affects (where fields say it), meaning."""
    hints, about = typing.get_type_hints(kind), _explained(kind)
    for one in dataclasses.fields(kind):
        if not one.init:
            continue
        if dataclasses.is_dataclass(hints[one.name]):
            nested = hints[one.name]
            affects = [""] if "mark" in one.metadata else []
            yield [f"**{prefix}{one.name}**", "", "", *affects, _cell(inspect.getdoc(nested) or "")]
            yield from _keys(nested, f"{prefix}{one.name}.")
            continue
        if one.default is not dataclasses.MISSING:
            default = _yaml(one.default)
        elif one.default_factory is not dataclasses.MISSING:
            default = _yaml(one.default_factory())
        else:
            default = "required"
        affects = [", ".join(mark_of(one).kinds)] if "mark" in one.metadata else []
        cells = (_type(hints[one.name]), default, *affects, about.get(one.name, ""))
        yield [f"{prefix}{one.name}", *map(_cell, cells)]


def _explained(kind: type) -> dict[str, str]:
    """The text under each field of a dataclass, inherited ones included."""
    found = dict(
        one for base in reversed(kind.__bases__) if base is not object for one in _explained(base).items()
    )
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(body, ast.ClassDef)
    for field, text in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            assert isinstance(field.target, ast.Name)
            found[field.target.id] = str(text.value.value)
    return found


def _type(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return " or ".join(map(str, arguments))
    if origin is tuple:
        inner = _type(arguments[0])
        return f"list of: {inner}" if " or " in inner else f"list of {inner}"
    if origin is dict:
        return f"{_type(arguments[0])}: {_type(arguments[1])}"
    if arguments:
        return " or ".join(_type(one) for one in arguments)
    return {
        "str": "text",
        "int": "whole number",
        "float": "number",
        "bool": "true or false",
        "NoneType": "null",
    }.get(getattr(hint, "__name__", ""), "any")


def _yaml(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(one)}" for key, one in value.items()) + "}"
    return str(value) if value != "" else '""'


def _all_tables() -> Iterable[tuple[str, Table]]:
    found = {RESULT.name: RESULT, CURVE.name: CURVE}
    for module in pkgutil.iter_modules(schemas.__path__):
        for value in vars(importlib.import_module(f"schemas.{module.name}")).values():
            if isinstance(value, Table) and value.name not in found:
                found[value.name] = value
    return found.items()


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _anchor(prog: str, name: str) -> str:
    return re.sub(r"[^a-z0-9 -]", "", f"{prog} {name}".lower()).replace(" ", "-")


if __name__ == "__main__":
    for file, text in pages().items():
        (DOCS / file).write_text(text, encoding="utf-8")
        print(DOCS / file)
