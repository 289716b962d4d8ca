"""The cells of every notebook run from top to bottom, as a script, in a folder that has a dataset where they expect it.

The notebooks use nothing that only Jupyter has, so that the test needs no kernel.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from schemas.manifest import MANIFEST

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def _withheld(dataset: Path) -> None:
    """Take the image of every other row away, as `publish --ids-only` does."""
    for path in dataset.glob("*/*.parquet"):
        table = parquet.read_table(path)
        rows = np.arange(len(table))
        images = table["image"].take(pa.array(rows, mask=rows % 2 == 1))
        parquet.write_table(table.set_column(table.schema.get_field_index("image"), "image", images), path)


def _shared(dataset: Path) -> None:
    """Put the images of all sets into a table of their own, as `shards.mode: shared` does."""
    images = {}
    for path in dataset.glob("*/*.parquet"):
        table = parquet.read_table(path)
        images |= dict(zip(table["image_id"].to_pylist(), table["image"].to_pylist(), strict=True))
        parquet.write_table(table.drop_columns("image"), path)
    (dataset / "images").mkdir()
    table = pa.table({"image_id": list(images), "image": list(images.values())})
    parquet.write_table(table, dataset / "images" / "images.parquet")


def _blue_alone(dataset: Path) -> None:
    manifest = json.loads((dataset / MANIFEST).read_text())
    sets = manifest["about"]["sets"]
    manifest["about"]["sets"] = {name: sets[name] for name in sets if not name.startswith("red")}
    (dataset / MANIFEST).write_text(json.dumps(manifest))


def _with_a_list(dataset: Path) -> None:
    """Claim of two sets that they come from a list, which may claim a wrong level or none."""
    manifest = json.loads((dataset / MANIFEST).read_text())
    sets = manifest["about"]["sets"]
    first, second = [name for name in sets if name.startswith("red")][:2]
    sets[first]["noise_level"], sets[second]["noise_level"] = 0.9, None
    (dataset / MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize("change", [None, _withheld, _shared, _blue_alone, _with_a_list])
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, change, built, tmp_path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert code
    assert not any(line.lstrip().startswith(("%", "!")) for cell in code for line in cell.splitlines())
    assert all(not cell.get("outputs") for cell in notebook["cells"]), "clear the outputs before a commit"
    dataset = tmp_path / "out" / "demo" / "dataset"
    shutil.copytree(built / "dataset", dataset)
    if change:
        change(dataset)
    (tmp_path / "cells.py").write_text("\n\n".join(code), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "cells.py"],
        cwd=tmp_path, env=os.environ | {"MPLBACKEND": "agg"},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    pictures = sorted(file.name for file in tmp_path.glob("*.png"))
    assert pictures == ["accuracy-by-level.png", "wrong-examples.png"]
