"""A split stage that is killed anywhere in its commit: the next run completes it, and nobody publishes the state between."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.errors import DataError
from pipeline.__main__ import main
from pipeline.config import load_config
from pipeline.jobs import sets
from pipeline.jobs.sets import commit_dataset
from pipeline.publish.facts import read_facts
from pipeline.shards import directory
from tests.pipeline.small_world import ONE_PROCESS, World

CHANGES = ("replace", "remove")  # of os
OLD = {"noise": {"levels": [0, 0.2], "colors": ["red"]}, "shards": {"max_rows": 64}}
NEW = {"noise": {"levels": [0.2, 0.5], "colors": ["red"]}, "shards": {"max_rows": 64}, "seed": 5}


class Killed(BaseException):
    """What no handler catches."""


@contextmanager
def killing(before: int) -> Iterator[list[int]]:
    """Raise Killed before a change to the file system, counted from 0; yield the number of changes that are left to it."""
    left, original = [before], {name: getattr(os, name) for name in CHANGES}

    def counted(name: str) -> Any:
        def change(*arguments: Any, **keywords: Any) -> Any:
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return original[name](*arguments, **keywords)

        return change

    for name in CHANGES:
        setattr(os, name, counted(name))
    try:
        yield left
    finally:
        for name, change in original.items():
            setattr(os, name, change)


committing: list[tuple[Any, Any]] = []


def stop_at_the_commit(published: Any, job: Any) -> None:
    """Keep the arguments of `commit_dataset`, and end the job there."""
    committing.append((published, job))
    raise DataError("stopped")


def split(world: World, config: Path, output: Path) -> int:
    return main(["split", "--config", str(config), "--output", str(output), ONE_PROCESS])


def contents(output: Path) -> dict[Path, bytes]:
    """All files of a build but those with times."""
    paths = (path.relative_to(output) for path in output.rglob("*") if path.is_file())
    return {path: (output / path).read_bytes() for path in paths if path.parts[0] != "metrics"}


def config_file(world: World, folder: Path, name: str, values: dict[str, Any]) -> Path:
    path = folder / name
    path.write_text(yaml.safe_dump(yaml.safe_load(world.config.read_text()) | values))
    return path


def is_published(output: Path, config: Path) -> bool:
    """Whether the build can be published; if so, its lists and its sets must be of one build."""
    try:
        facts = read_facts(str(output), load_config(str(config), []))
    except DataError:
        return False
    listed: dict[str, set[str]] = {}
    for rows in directory.read_shards(str(output / "split" / "examples"), ["image_id", "sets"]):
        for row in rows.to_pylist():
            for name in row["sets"]:
                listed.setdefault(name, set()).add(row["image_id"])
    for name in facts.sets:
        shards = directory.read_shards(str(output / "dataset" / name), ["image_id"])
        assert {each for rows in shards for each in rows["image_id"].to_pylist()} == listed[name], name
    return True


@pytest.mark.parametrize(("first", "step"), [(False, 1), (True, 3)], ids=["a later build", "the first build"])
def test_a_commit_that_is_killed_anywhere_is_completed_by_the_next_run(
    world: World, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: bool, step: int
) -> None:
    """Kill it before each of its changes to the file system in turn, or before every `step`-th."""
    old, new = (config_file(world, tmp_path, *each) for each in (("old.yaml", OLD), ("new.yaml", NEW)))
    output, prepared, expected = (tmp_path / name for name in ("out", "prepared", "expected"))
    shutil.copytree(built, output, ignore=shutil.ignore_patterns("dataset", "split", "metrics"))
    if not first:
        assert split(world, old, output) == 0
    shutil.copytree(output, expected)
    assert split(world, new, expected) == 0
    with monkeypatch.context() as patch:
        patch.setattr(sets, "commit_dataset", stop_at_the_commit)
        assert split(world, new, output) == 1
    arguments = committing.pop()
    output.rename(prepared)

    published = []
    for number in range(0, 100, step):
        shutil.rmtree(output, ignore_errors=True)
        shutil.copytree(prepared, output)
        with killing(number) as left, suppress(Killed):
            commit_dataset(*arguments)
        if left[0]:
            break
        published.append((is_published(output, old), is_published(output, new)))
        assert split(world, new, output) == 0
        assert contents(output) == contents(expected), number
    assert contents(output) == contents(expected)
    assert {state for state in published if state != (False, False)} == {(False, True)} | (
        set() if first else {(True, False)}
    )
