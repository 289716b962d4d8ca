"""The documented functions: build, verify, open and train without the command line."""

import contextlib
import io
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import pipeline
from common.errors import UsageError
from pipeline import Verification, build_dataset, verify_dataset
from tests.pipeline.small_world import World, write_world
from training import train_network

ROOT = Path(__file__).parents[2]
QUICK = {"epochs": 1, "batch_size": 16, "network": {"width": 2}, "precision": "fp32"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return write_world(tmp_path_factory.mktemp("interface") / "mine")


@pytest.fixture(scope="module")
def example(world: World) -> tuple[str, Path]:
    """Run the documented example beside the folder `mine`; return what it prints, and the dataset that it builds."""
    text = (ROOT / "docs/reference/python.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert found
    assert "build_dataset" in found[1]
    script = world.folder.parent / "example.py"
    script.write_text(found[1].replace('method="mentormix"', f'method="mentormix", overrides={QUICK!r}'))
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(io.StringIO()) as printed,
    ):
        patch.chdir(script.parent)
        patch.setenv("HF_HUB_OFFLINE", "1")
        runpy.run_path(str(script), run_name="__main__")
    return printed.getvalue(), script.parent / "out" / "dataset"


@pytest.fixture(scope="module")
def dataset(example: tuple[str, Path]) -> str:
    return str(example[1])


def test_importing_the_package_loads_no_beam_and_every_name_is_there() -> None:
    code = "import sys, pipeline; dir(pipeline); assert 'apache_beam' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    assert all(getattr(pipeline, name).__name__ == name for name in pipeline.__all__)
    with pytest.raises(AttributeError, match="no attribute 'build_datasets'"):
        pipeline.build_datasets  # noqa: B018


def test_the_documented_example_runs(example: tuple[str, Path]) -> None:
    printed, _ = example
    assert re.search("^split ", printed, re.MULTILINE), "build_dataset reports its stages"
    assert re.search(r"^\d+ images, test accuracy 0\.\d{3}$", printed, re.MULTILINE)


def test_a_configuration_can_be_a_mapping_with_overrides(world: World, dataset: str, tmp_path: Path) -> None:
    raw = yaml.safe_load(world.config.read_text(encoding="utf-8"))
    result = build_dataset(
        {**raw, "source": str(world.folder), "seed": 1}, tmp_path, overrides={"seed": raw.get("seed", 0)}
    )
    first, second = (verify_dataset(path) for path in (dataset, result["dataset"]))
    assert first == second
    assert first.problems == ()


def test_a_wrong_configuration_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"config.*levles"):
        build_dataset({"levles": []}, tmp_path)


def test_a_damaged_dataset_has_problems(dataset: str, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(dataset, tmp_path / "dataset"))
    shard = next((copy / "red-0.20").glob("*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-1])
    verification = verify_dataset(copy)
    assert isinstance(verification, Verification)
    assert any(shard.name in problem for problem in verification.problems)


def test_a_run_can_be_repeated_and_resumed(dataset: str, tmp_path: Path) -> None:
    first = train_network(dataset, "red-0.20", tmp_path / "run", recipe="tiny", overrides=QUICK)
    again = train_network(dataset, "red-0.20", tmp_path / "run", recipe="tiny", overrides=QUICK, resume=True)
    assert again == first
    with pytest.raises(UsageError):
        train_network(
            dataset, "red-0.20", tmp_path / "run", recipe="tiny", overrides=QUICK | {"epochs": 2}, resume=True
        )
