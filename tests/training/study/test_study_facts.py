"""The facts that the page of a study starts with."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.training.study.synthetic_results import synthetic_results
from training.study.study_facts import STUDY_FILE, study_facts

CLASS_NAMES = [f"class {number}" for number in range(14)]


@pytest.fixture(scope="module")
def results() -> pa.Table:
    table, _ = synthetic_results((0.0, 0.4), methods=("vanilla", "mixup"), seeds=(0, 1))
    place = table.schema.get_field_index("test_images")
    return table.set_column(place, table.schema.field(place), [[7_000] * table.num_rows])


def write(folder: Path, results: pa.Table, plan: Any, description: Any) -> Path:
    run = folder / "runs" / results["run"][0].as_py()
    run.mkdir(parents=True)
    (folder / STUDY_FILE).write_text(plan if isinstance(plan, str) else json.dumps(plan))
    (run / "config.json").write_text(description if isinstance(description, str) else json.dumps(description))
    return folder


def test_dataset_classes_test_set_and_recipe_are_named(results: pa.Table, tmp_path: Path) -> None:
    data = {"class_names": CLASS_NAMES, "image_size": [32, 48], "test": "test"}
    plan = {"dataset": "pets", "recipe": "tiny", "overrides": {"epochs": 3, "network": {"width": 2}}}
    first = write(tmp_path / "a", results, plan, {"data": data})
    settings = {"scratch": {}, "probe": {"recipe": "probe", "network": {"frozen": True}}}
    second = write(tmp_path / "b", results, {**plan, "settings": settings}, {"data": data})
    assert dict(study_facts(results, [first, second])) == {
        "dataset": "pets",
        "classes": f"14: {', '.join(CLASS_NAMES[:12])} and 2 more",
        "images": "48 × 32 pixels",
        "test set": "test, 7,000 images",
        "recipe": "tiny; scratch: tiny; probe: probe with network.frozen = True",
        "changed keys": "epochs = 3, network.width = 2",
        "grid": "2 methods, 2 noise levels, 1 network, 1 setting, 2 seeds; blue, red noise",
    }


@pytest.mark.parametrize(
    "damaged", ["", "{", "[]", "null", '{"data": 3, "settings": [], "recipe": 4, "overrides": 1}']
)
def test_facts_of_missing_and_damaged_files_are_left_out(
    results: pa.Table, tmp_path: Path, damaged: str
) -> None:
    folder = write(tmp_path, results, damaged, damaged)
    expected = {"test set", "grid"}
    assert set(dict(study_facts(results, [folder]))) == expected
    (folder / STUDY_FILE).unlink()
    assert set(dict(study_facts(results, [folder]))) == expected
