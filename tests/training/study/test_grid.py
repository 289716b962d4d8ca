"""The grid of a study: its values, its sets, and the names and order of its runs."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from common.errors import DataError
from schemas.manifest import MANIFEST
from tests.training.conftest import striped, write_set
from tests.training.study.small_study import QUICK, small_study
from training.study import grid


def test_colors_share_the_runs_without_noise(dataset: Path) -> None:
    write_set(dataset / "red-0.40", striped(96, 0.4, seed=3), noise_level=0.4, color="red")
    cells = grid.make_cells(small_study(colors=("red", "blue")), dataset)
    assert len(cells) == 8
    clean = [cell.run.name for cell in cells if cell.noise_level == 0]
    noisy = [cell.run.name for cell in cells if cell.noise_level == 0.4]
    assert (len(clean), len(set(clean))) == (4, 2)
    assert len(set(noisy)) == 4


def test_run_names_depend_on_data_and_configuration(dataset: Path) -> None:
    names = {cell.run.name for cell in grid.make_cells(small_study(), dataset)}
    changed = {
        cell.run.name for cell in grid.make_cells(small_study(overrides=QUICK | {"batch_size": 16}), dataset)
    }
    assert not names & changed
    shutil.rmtree(dataset / "blue-0.40")
    write_set(dataset / "blue-0.40", striped(96, 0.4, seed=9), noise_level=0.4)
    again = {cell.run.name for cell in grid.make_cells(small_study(), dataset)}
    assert {name for name in again if name in names} == {
        name for name in names if name.startswith("blue-0.00")
    }


def test_a_study_goes_on_after_another_version_has_built_the_same_images_again(dataset: Path) -> None:
    names = {cell.run.name for cell in grid.make_cells(small_study(), dataset)}
    for path in dataset.glob(f"*/{MANIFEST}"):
        manifest = json.loads(path.read_text())
        manifest["about"]["versions"] = {"pillow": "13.0"}
        path.write_text(json.dumps(manifest))
    assert {cell.run.name for cell in grid.make_cells(small_study(), dataset)} == names


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"levels": ()}, "levels is empty"),
        ({"levels": (0.4, 0.4)}, "levels has a value twice"),
        ({"levels": (40.0,)}, r"from 0 up to less than 1, got 40; 40 % is 0\.4"),
        ({"overrides": {"seed": 3}}, "overrides.seed: the study varies this key"),
    ],
)
def test_invalid_values_of_a_study_are_errors(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small_study(**changes)


def test_a_setting_can_have_some_of_the_methods(dataset: Path) -> None:
    settings = {"short": {"epochs": 2, "methods": ["mixup"]}, "long": {"epochs": 3}}
    study = small_study(methods=("vanilla", "mixup"), settings=settings, seeds=(0,), levels=(0.4,))
    cells = {(cell.setting, cell.method, cell.run.config.epochs) for cell in grid.make_cells(study, dataset)}
    assert cells == {("short", "mixup", 2), ("long", "vanilla", 3), ("long", "mixup", 3)}


@pytest.mark.parametrize("methods", ["mixup", ["mixup"], 3])
def test_methods_of_a_setting_are_those_of_the_study(methods: object) -> None:
    with pytest.raises(
        ValueError, match=r"settings\.short\.methods .*; give a list of the study's methods: vanilla"
    ):
        small_study(settings={"short": {"methods": methods}})


def test_the_sets_of_all_levels_have_the_names_that_builds_give_them(dataset: Path) -> None:
    names = {0.125: "red-0.125", 0.4: "red-0.40", 0.333: "red-0.333", 0.005: "red-0.005", 0.0: "red-0.00"}
    for level, name in names.items():
        write_set(dataset / name, striped(96, level, seed=1), noise_level=level, color="red")
    study = small_study(levels=tuple(names), colors=("red",), seeds=(1, 0))
    runs = grid.unique_runs(grid.make_cells(study, dataset))
    assert {run.set_name for run in runs} == set(names.values()) == set(grid.set_names(study)) - {"test"}
    first = grid.order_by_priority(runs, study)[: len(names)]
    assert [run.set_name for run in first] == list(names.values())


def test_a_missing_set_is_an_error_before_training(dataset: Path) -> None:
    with pytest.raises(DataError, match=r"red-0\.40: no such set"):
        grid.make_cells(small_study(levels=(0.4,), colors=("red",)), dataset)


def test_a_folder_whose_manifest_has_another_level_is_an_error(dataset: Path) -> None:
    (dataset / "blue-0.40").rename(dataset / "blue-0.60")
    with pytest.raises(DataError, match=r"the manifest has noise level 0\.4"):
        grid.make_cells(small_study(levels=(0.6,)), dataset)
