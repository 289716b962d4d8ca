"""Engines run tasks more than once, and drop what some attempts have done: tables and bytes stay the same."""

import ast
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.__main__ import main
from pipeline.verify.dataset import verify
from tests.pipeline.fetch.conftest import Web, web  # noqa: F401  fixture
from tests.pipeline.fetch.counting import image_list
from tests.pipeline.ingest.conftest import encoded, smooth  # noqa: F401  fixtures
from tests.pipeline.jobs.attempts import MAKERS, MODES, repeat_everything
from tests.pipeline.small_world import World

# ruff: noqa: F811  fixtures of other folders are imported by name
ONE = "--direct_num_workers=1"
JOBS = Path(__file__).parents[3] / "pipeline" / "jobs"
VARIANTS = {
    "all at once": ("build", "--set=aggregate.method=majority"),
    # The other stages are those of "all at once".
    "together": ("aggregate", "--force", "--set=aggregate.method=dawid-skene"),
    "in passes": (
        "build",
        "--set=aggregate.method=dawid-skene",
        "--set=aggregate.distribute_above=1",
        "--set=aggregate.max_iterations=2",
        "--set=shards.mode=shared",
        "--set=dedupe.distribute_above=1",
    ),
}


def files_of(output: Path) -> dict[Path, bytes]:
    """Every file of a build but those that hold times."""
    skipped = {"metrics", "fetch"}
    return {
        path.relative_to(output): path.read_bytes()
        for path in output.rglob("*")
        if path.is_file() and path.relative_to(output).parts[0] not in skipped
    }


def run(command: tuple[str, ...], world: World, built: Path, output: Path) -> None:
    """Run a verb with its flags: a build, or one stage in a copy of a finished build."""
    verb, *flags = command
    if verb != "build":
        shutil.copytree(built, output)
    levels = "--set=noise.levels=[0.2]"
    assert main([verb, "--config", str(world.config), "--output", str(output), ONE, *flags, levels]) == 0


@pytest.fixture(scope="module", params=VARIANTS)
def undisturbed(
    request: pytest.FixtureRequest, world: World, built: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[tuple[str, ...], dict[Path, bytes]]:
    """The verb and the flags of a variant, and the files of its build."""
    output, command = tmp_path_factory.mktemp("undisturbed") / "out", VARIANTS[request.param]
    run(command, world, built, output)
    return command, files_of(output)


@pytest.mark.parametrize("mode", MODES)
def test_attempts_that_do_not_count_leave_no_trace(
    undisturbed: tuple[tuple[str, ...], dict[Path, bytes]],
    world: World,
    built: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
) -> None:
    command, expected = undisturbed
    output = tmp_path / "out"
    repeat_everything(monkeypatch, mode)
    run(command, world, built, output)
    assert files_of(output) == expected
    if command[0] == "build":
        assert verify(str(output / "dataset")).problems == ()


@pytest.mark.parametrize("mode", MODES)
def test_a_task_that_fetches_may_run_more_than_once(
    tmp_path: Path, web: Web, smooth: Callable, encoded: Callable, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    config = image_list(tmp_path, web, smooth, encoded)
    command = ["ingest", "--config", str(config), ONE, "--output"]
    assert main([*command, str(tmp_path / "expected")]) == 0
    repeat_everything(monkeypatch, mode)
    assert main([*command, str(tmp_path / "out")]) == 0
    for table in ("images", "retrievals"):  # rejections hold times
        name = Path("ingest") / table
        assert files_of(tmp_path / "out" / name) == files_of(tmp_path / "expected" / name)


def test_jobs_make_their_steps_in_ways_that_the_tests_above_repeat() -> None:
    without_functions = {
        "Create", "Impulse", "GroupByKey", "CoGroupByKey", "Flatten", "CombineGlobally",
        "pvalue.TaggedOutput", "pvalue.AsSingleton", "pvalue.AsIter",
    }  # fmt: skip
    for path in JOBS.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "apache_beam":
                raise AssertionError(f"{path}:{node.lineno}: imports from apache_beam by name")
            if isinstance(node, ast.Call) and (
                match := re.fullmatch(r"beam\.([\w.]+)", ast.unparse(node.func))
            ):
                assert match[1] in {*MAKERS, *without_functions}, f"{path}:{node.lineno}: {match[1]}"
