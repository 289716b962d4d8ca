"""A synthetic study with everything that pages and figures show; it is drawn once, since that takes seconds."""

from pathlib import Path

from tests.training.study.synthetic_results import with_a_short_setting
from training.study import results
from training.study.plot import StudyPlots, plot


def draw(parent: Path) -> tuple[Path, StudyPlots]:
    """Return a folder, whose name and error of a failed run are markup, and what was drawn in it."""
    folder = parent / "<made> study"
    folder.mkdir()
    table, curves = with_a_short_setting(
        levels=(0.0, 0.2, 0.4), methods=("vanilla", "mentormix"), seeds=(0, 1)
    )
    rows = table.to_pylist()
    rows[0] |= {"status": "failed", "error": "<img src=x>: no memory"}
    for row in rows[1::3]:
        row |= {"cpu": "Other CPU"}
    results.write((results.RESULT.from_rows(rows), curves), folder)
    return folder, plot([folder], folder)
