"""The documented functions: build, verify, open and train without the command line."""

import re
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
def dataset(world: World, tmp_path_factory: pytest.TempPathFactory) -> str:
    lines: list[str] = []
    result = build_dataset(world.config, tmp_path_factory.mktemp("build") / "out", say=lines.append)
    assert any(line.startswith("split") for line in lines)
    return str(result["dataset"])


def test_importing_the_package_loads_no_beam_and_every_name_is_there() -> None:
    code = "import sys, pipeline; dir(pipeline); assert 'apache_beam' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    assert all(getattr(pipeline, name).__name__ == name for name in pipeline.__all__)
    with pytest.raises(AttributeError, match="no attribute 'build_datasets'"):
        pipeline.build_datasets  # noqa: B018


def test_the_documented_example_runs(world: World) -> None:
    text = (ROOT / "docs/reference/python.md").read_text(encoding="utf-8")
    example = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert example
    assert "build_dataset" in example[1]
    code = example[1].replace('method="mentormix"', f'method="mentormix", overrides={QUICK!r}')
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=world.folder.parent, env={"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "PATH": ""},
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    assert re.search(r"^\d+ images, test accuracy 0\.\d{3}$", done.stdout, re.MULTILINE)


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
