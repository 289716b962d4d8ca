"""Figures and tables of synthetic results."""

import csv
import html
import io
from pathlib import Path

import pytest

from tests.training.study.synthetic_results import synthetic_results, with_a_short_setting
from training.study import results as study_results
from training.study import summary_tables
from training.study.figures import accuracy, draw_all
from training.study.plot import plot
from training.study.plot_panels import FigureData
from training.study.series import with_series


def test_a_study_of_one_network_has_all_figures_but_transfer(tmp_path: Path) -> None:
    study_results.write(synthetic_results(), tmp_path)
    plots = plot([tmp_path], tmp_path)
    figures = plots.figures
    names = ["accuracy", "belts", "drop", "spread", "mentor", "utilization"]
    assert [figure.name for figure in figures] == names
    assert plots.missing == ["transfer: needs three networks"]
    for figure in figures:
        assert figure.png.read_bytes().startswith(b"\x89PNG")
        assert "<svg" in figure.svg.read_text()[:2000]
        assert figure.caption in (tmp_path / "summary.md").read_text()
    assert {path.name for path in (tmp_path / "tables").iterdir()} == {
        f"{one.name}.{ending}" for one in plots.tables for ending in ("md", "tex", "csv")
    }


def test_figures_without_data_are_listed_as_missing(tmp_path: Path) -> None:
    figures, missing = draw_all(*synthetic_results(levels=(0.4,), methods=("vanilla",), seeds=(0,)), tmp_path)
    assert [figure.name for figure in figures] == ["accuracy", "drop"]
    assert [line.partition(":")[0] for line in missing] == [
        "belts",
        "spread",
        "mentor",
        "utilization",
        "transfer",
    ]


def test_settings_are_side_by_side_in_one_figure(tmp_path: Path) -> None:
    figures, _ = draw_all(*with_a_short_setting(levels=(0.0, 0.4)), tmp_path)
    assert [figure.name for figure in figures].count("accuracy") == 1
    for figure in figures:
        text = html.unescape(figure.svg.read_text())
        assert "mentormix (released)" in text
        assert "mentormix (short)" in text
        assert figure.caption.endswith("Setting of vanilla, mixup, mentornet: released.")


def test_accuracy_of_a_single_level_has_a_row_per_series() -> None:
    results, _ = with_a_short_setting(levels=(0.4,))
    canvas = accuracy(FigureData(with_series(summary_tables.finished(results)), {}))
    names = [text.get_text() for text in canvas.axes[0].get_yticklabels()]
    assert names == ["vanilla", "mixup", "mentornet", "mentormix (released)", "mentormix (short)"]
    assert [axis.get_title() for axis in canvas.axes] == ["red noise, 40 %", "blue noise, 40 %"]


def test_networks_are_correlated_and_have_their_own_figures(tmp_path: Path) -> None:
    networks = ("torchvision/resnet50", "timm/inception", "small_cnn", "wide")
    made = synthetic_results(levels=(0.0, 0.4), methods=("vanilla",), seeds=(0,), networks=networks)
    figures, _ = draw_all(*made, tmp_path)
    assert {figure.name for figure in figures} >= {"transfer", "accuracy-timm-inception"}
    assert "r = " in next(figure for figure in figures if figure.name == "transfer").svg.read_text()


def test_only_markdown_and_latex_are_rounded() -> None:
    results, _ = synthetic_results()
    cells = summary_tables.cells(results)
    [row] = [
        line for line in csv.reader(io.StringIO(cells.csv())) if line[2:5] == ["blue", "40.0", "vanilla"]
    ]
    runs = [
        r
        for r in results.to_pylist()
        if (r["color"], r["noise_level"], r["method"]) == ("blue", 0.4, "vanilla")
    ]
    assert float(row[6]) == pytest.approx(100 * sum(r["final_accuracy"] for r in runs) / 3)
    assert f"| blue | 40.0 | vanilla | 3 | {float(row[6]):.1f} ± " in cells.markdown()
    tex = summary_tables.by_level(results, "final_accuracy", "final").latex()
    assert r"small\_cnn & blue & vanilla" in tex
    assert r"$\pm$" in tex
    assert r"40 \%" in tex


def test_spread_over_levels_is_larger_on_blue() -> None:
    rows = {line[2:4]: line for line in summary_tables.over_levels(synthetic_results()[0]).rows}
    assert rows["blue", "vanilla"][6] > 2 * rows["red", "vanilla"][6]
    assert rows["blue", "vanilla"][4] == 4


def test_runs_that_two_colors_share_are_compared_once() -> None:
    results, _ = synthetic_results(methods=("vanilla", "mixup"))
    rows = results.to_pylist()
    for row in rows:  # without noise red and blue are one set
        if row["noise_level"] == 0:
            row["run"] = row["run"].replace("red", "blue")
    lines = {line[1]: line for line in summary_tables.comparisons(study_results.RESULT.from_rows(rows)).rows}
    assert {color: line[4] for color, line in lines.items()} == {"red": 12, "blue": 12, "all": 21}
    assert lines["all"][9] == "yes"


def test_failed_runs_are_listed_and_not_averaged() -> None:
    rows = synthetic_results()[0].to_pylist()
    rows[0] |= {"status": "failed", "error": "out | of luck", "final_accuracy": None}
    results = study_results.RESULT.from_rows(rows)
    assert len(summary_tables.finished(results)) == len(rows) - 1
    assert r"out \| of luck" in summary_tables.unfinished(results).markdown()


def test_wide_intervals_of_two_seeds_stay_within_100_percent() -> None:
    results, _ = synthetic_results(levels=(0.0, 0.4), methods=("vanilla",), seeds=(0, 1))
    rows = [row | {"final_accuracy": 0.6 + 0.3 * row["seed"]} for row in results.to_pylist()]
    canvas = accuracy(FigureData(with_series(rows), {}))
    low, high = canvas.axes[0].get_ylim()
    assert 0 <= low < high <= 100
