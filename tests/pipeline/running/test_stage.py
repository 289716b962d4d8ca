"""Cache keys: each stage's key depends on the marked fields of the configuration, and on nothing else.

The fields are found by reflection, and each gets a value of its type that it did not have, so a new field is covered.
"""

import dataclasses
import json
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.config import Mark, mark_of
from pipeline.aggregate_config import AggregateConfig
from pipeline.config import BuildConfig
from pipeline.fetch.journal import fetch_rules
from pipeline.running.stage import STAGE_VERSIONS, Stage
from tests.pipeline.small_world import build

# Gold questions need another method than majority, and the seed decides ties only where these are broken by it.
BASE = BuildConfig(
    source="data", classes=("ant", "bee"), clean=("clean.csv",), test=("test.csv",), web=("web.csv",),
    votes=("votes.csv",), aggregate=AggregateConfig(method="dawid-skene", ties="seeded"),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Field:
    """A field of a build's configuration, at the top or in a section."""

    path: str
    mark: Mark
    stages: tuple[str, ...]
    """The stages that it belongs to."""

    def changed(self, config: BuildConfig) -> BuildConfig:
        """The configuration with another value of this field."""
        section, _, name = self.path.rpartition(".")
        holder = getattr(config, section) if section else config
        hint = typing.get_type_hints(type(holder))[name]
        for value in others(hint, getattr(holder, name)):
            try:
                holder = dataclasses.replace(holder, **{name: value})
                return dataclasses.replace(config, **{section: holder}) if section else holder
            except ValueError:
                continue
        raise AssertionError(f"no other value of {self.path} is allowed; let others() give one")


def others(hint: Any, value: Any) -> Iterator[Any]:
    """Values of a type that differ from `value`; some may break a rule of the configuration."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        candidates = list(arguments)
    elif origin is tuple:
        items = [one for item in ([*value[:1]] or [""]) for one in others(arguments[0], item)]
        candidates = [(*value, item) for item in items] + [(item,) * 3 for item in items]
        candidates += [value[:-1], ("ant",)]  # a class, where one is asked for
    elif origin is dict:
        candidates = [{}, {"one": "yes"}, {"clean": "cc-by"}]
    elif dataclasses.is_dataclass(hint):
        candidates = [typing.cast(Any, hint)("Ada Lovelace")]
    elif arguments:  # of a union
        candidates = [one for kind in arguments for one in others(kind, value if value is not None else "")]
    else:
        candidates = {
            bool: [not value],
            int: [value + 1, value - 1] if isinstance(value, int) else [1, 64],
            float: [value / 2, value + 0.125] if isinstance(value, float) else [0.125],
            str: [f"{value}x", "2026-12-01", "https://example.org/", "10.5281/zenodo.1", "1.0.1"],
            type(None): [None],
        }[hint]
    yield from (one for one in candidates if one != value)


def fields() -> Iterator[Field]:
    """All fields of BuildConfig and of its sections."""
    for field in dataclasses.fields(BuildConfig):
        mark, section = mark_of(field), getattr(BASE, field.name)
        stages = tuple(mark.stages)
        if not dataclasses.is_dataclass(section):
            yield Field(field.name, mark, stages)
            continue
        for inner in dataclasses.fields(section):
            yield Field(f"{field.name}.{inner.name}", mark_of(inner), stages)


def keys(config: BuildConfig) -> dict[str, str]:
    """The key of every stage, with equal inputs."""
    return {name: Stage(name, {}, config).about["made_from"] for name in STAGE_VERSIONS}


ALL = list(fields())
OUTPUT = [field for field in ALL if field.mark.output]
FETCHING = [field for field in ALL if field.mark.fetching]
OPERATIONAL = [field for field in ALL if field.mark.kinds == ["operational"]]


def test_every_field_is_marked_and_every_output_belongs_to_a_stage() -> None:
    assert len(ALL) > 60
    assert {field.path for field in [*OUTPUT, *FETCHING, *OPERATIONAL]} == {field.path for field in ALL}
    for field in OUTPUT:
        assert field.stages, f"{field.path} affects the output of no stage"
        assert set(field.stages) <= set(STAGE_VERSIONS), f"{field.path} names a stage that does not exist"


@pytest.mark.parametrize("field", OUTPUT, ids=lambda field: field.path)
def test_a_changed_output_field_changes_the_keys_of_its_stages_and_no_others(field: Field) -> None:
    before, after = keys(BASE), keys(field.changed(BASE))
    assert {name for name in before if before[name] != after[name]} == set(field.stages)


@pytest.mark.parametrize("field", OPERATIONAL, ids=lambda field: field.path)
def test_a_changed_operational_field_changes_no_key(field: Field) -> None:
    other = field.changed(BASE)
    assert keys(other) == keys(BASE)
    assert fetch_rules(other) == fetch_rules(BASE)


@pytest.mark.parametrize("field", FETCHING, ids=lambda field: field.path)
def test_a_changed_fetching_field_makes_failures_be_asked_again(field: Field) -> None:
    other = field.changed(BASE)
    assert fetch_rules(other) != fetch_rules(BASE)
    assert (keys(other) == keys(BASE)) == (not field.mark.output)


def test_the_seed_decides_labels_only_where_ties_are_broken_by_it() -> None:
    drop = dataclasses.replace(BASE, aggregate=AggregateConfig())
    before, after = keys(drop), keys(dataclasses.replace(drop, seed=1))
    assert {name for name in before if before[name] != after[name]} == {"split"}


def test_inputs_and_version_are_part_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    about = Stage("dedupe", {"images": "1"}, BASE).about
    assert Stage("dedupe", {"images": "1"}, BASE).about == about
    # The key is part of the manifest, so it reaches the stages that read the table.
    assert Stage("dedupe", {"images": "2"}, BASE).about["made_from"] != about["made_from"]
    monkeypatch.setitem(STAGE_VERSIONS, "dedupe", STAGE_VERSIONS["dedupe"] + 1)
    assert Stage("dedupe", {"images": "1"}, BASE).about["made_from"] != about["made_from"]


def test_a_build_with_other_operational_values_makes_nothing_again(
    world: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    assert build(world, output) == 0

    def times() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file()}

    before = times()
    capsys.readouterr()
    values = [
        "fetch.contact=other@example.org", "fetch.timeout_seconds=7", "fetch.concurrency=32", "fetch.keep_bodies=false",
        "ingest.max_rejected_share=0.4", "aggregate.max_votes=9", "aggregate.max_rejected_share=0.2", "dedupe.distribute_above=0",
    ]  # fmt: skip
    assert build(world, output, *(part for value in values for part in ("--set", value))) == 0
    assert times() == before
    # The estimated noise of the sets follows the line of split, indented.
    reported = [line for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]
    assert reported == [
        "ingest    up to date", "aggregate up to date", "dedupe    up to date", "split     up to date",
        f"dataset   {output}/dataset",
    ]  # fmt: skip
    assert build(world, output, "--set", "noise.levels=[0, 0.3]", "--json") == 0
    reported = json.loads(capsys.readouterr().out)
    assert {name: reported[name]["up_to_date"] for name in reported if name != "dataset"} == {
        "ingest": True, "aggregate": True, "dedupe": True, "split": False,
    }  # fmt: skip
    assert reported["ingest"]["images"] == 213
