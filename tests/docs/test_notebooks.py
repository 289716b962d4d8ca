"""The cells of every notebook run from top to bottom, as a script, in a folder that has a dataset where they expect it.

The notebooks use nothing that only Jupyter has, so that the test needs no kernel.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, built, tmp_path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert code
    assert not any(line.lstrip().startswith(("%", "!")) for cell in code for line in cell.splitlines())
    assert all(not cell.get("outputs") for cell in notebook["cells"]), "clear the outputs before a commit"
    (tmp_path / "out" / "demo").mkdir(parents=True)
    (tmp_path / "out" / "demo" / "dataset").symlink_to(built / "dataset")
    (tmp_path / "cells.py").write_text("\n\n".join(code), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "cells.py"],
        cwd=tmp_path, env=os.environ | {"MPLBACKEND": "agg"},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    pictures = sorted(file.name for file in tmp_path.glob("*.png"))
    assert pictures == ["accuracy-by-level.png", "wrong-examples.png"]
