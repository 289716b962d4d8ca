"""Figures and tables of synthetic results."""

import contextlib
import csv
import html
import io
import itertools
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
import pyarrow as pa
import pytest
from markdown_it import MarkdownIt
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from page.markdown import markdown_text
from tests.training.study.synthetic_results import synthetic_results, with_a_short_setting
from training.study import results as study_results
from training.study import summary_tables
from training.study.figure_captions import CAPTIONS
from training.study.figures import FIGURES, accuracy, draw_all, transfer
from training.study.plot import StudyPlots, plot
from training.study.plot_panels import FigureData, MissingDataError
from training.study.plot_style import COLUMN, PAGE, STYLE
from training.study.series import with_series
from training.study.summary_tables import grouped


def test_files_that_are_drawn_again_are_replaced_not_overwritten(
    drawn: tuple[Path, StudyPlots], tmp_path: Path
) -> None:
    """A reader, and a full disk, never leave half a figure in place of a whole one."""
    folder, _ = drawn
    output, links = tmp_path / "output", tmp_path / "links"
    shutil.copytree(folder, output)
    shutil.copytree(output, links, copy_function=os.link)
    plot([folder], output)
    parts = [*folder.glob("figures/*"), *folder.glob("tables/*"), folder / "summary.md"]
    written = [path.relative_to(folder) for path in parts]
    assert len(written) > 30
    assert [name for name in written if (output / name).samefile(links / name)] == []
    assert {path.name for path in output.rglob("*")} == {path.name for path in folder.rglob("*")}


def test_a_study_of_one_network_has_all_figures_but_transfer(drawn: tuple[Path, StudyPlots]) -> None:
    folder, plots = drawn
    figures = plots.figures
    names = ["accuracy", "belts", "drop", "spread", "mentor", "utilization"]
    assert [figure.name for figure in figures] == names
    assert plots.missing == ["transfer: needs three networks"]
    for figure in figures:
        assert figure.path("png").read_bytes().startswith(b"\x89PNG")
        assert markdown_text(figure.caption) in (folder / "summary.md").read_text()
        for column, inches in ((False, 6.75), (True, 3.25)):
            pdf = figure.path("pdf", column=column).read_bytes()
            [width] = re.findall(rb"/MediaBox \[ 0 0 ([\d.]+) [\d.]+ \]", pdf)
            assert float(width) == 72 * inches
            assert b"/FontFile2" in pdf  # TrueType
            assert b"/Type3" not in pdf
            assert "<svg" in figure.path("svg", column=column).read_text()[:2000]
    assert {path.name for path in (folder / "tables").iterdir()} == {
        f"{one.name}.{ending}" for one in plots.tables for ending in ("md", "tex", "csv")
    }


def test_figures_without_data_are_listed_as_missing(tmp_path: Path) -> None:
    figures, missing = draw_all(*synthetic_results(levels=(0.4,), methods=("vanilla",), seeds=(0,)), tmp_path)
    assert [figure.name for figure in figures] == ["accuracy"]
    assert [line.partition(":")[0] for line in missing] == [
        "belts",
        "drop",
        "spread",
        "mentor",
        "utilization",
        "transfer",
    ]


def test_settings_are_side_by_side_in_one_figure(drawn: tuple[Path, StudyPlots]) -> None:
    _, plots = drawn
    for figure in plots.figures:
        text = html.unescape(figure.path("svg").read_text())
        assert "mentormix (released)" in text
        assert "mentormix (short)" in text
        assert figure.caption.endswith("Setting of vanilla: released.")


def test_accuracy_of_a_single_level_has_a_row_per_series() -> None:
    results, _ = with_a_short_setting(levels=(0.4,))
    canvas = accuracy(FigureData(with_series(summary_tables.finished(results)), {}))
    names = [text.get_text() for text in canvas.axes[0].get_yticklabels()]
    assert names == ["vanilla", "mixup", "mentornet", "mentormix (released)", "mentormix (short)"]
    assert [axis.get_title() for axis in canvas.axes] == ["red noise, 40 %", "blue noise, 40 %"]


def test_networks_are_correlated_and_have_their_own_figures(tmp_path: Path) -> None:
    """At one level, so that accuracy is the only figure of a network; the texts of all figures are tested below."""
    networks = ("torchvision/resnet50", "timm/inception", "small_cnn")
    table, curves = synthetic_results(
        levels=(0.4,), methods=("vanilla",), seeds=(0,), networks=networks, colors=("red",)
    )
    rows = [row | {"imagenet_accuracy": 0.7 + len(row["network"]) / 100} for row in table.to_pylist()]
    figures, _ = draw_all(study_results.RESULT.from_rows(rows), curves, tmp_path)
    assert {figure.name for figure in figures} >= {"transfer", "accuracy-timm-inception"}
    assert "r = " in next(figure for figure in figures if figure.name == "transfer").path("svg").read_text()


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
    error = "out | of luck <img src=x> `a` [b](javascript:c) *d* _e_"
    rows[0] |= {"status": "failed", "error": error, "final_accuracy": None}
    results = study_results.RESULT.from_rows(rows)
    assert len(summary_tables.finished(results)) == len(rows) - 1
    table = summary_tables.unfinished(results)
    rendered = MarkdownIt("commonmark").enable(["table"]).render(table.markdown())
    assert html.escape(error) in rendered
    assert set(re.findall(r"<(\w+)", rendered)) <= {"table", "thead", "tbody", "tr", "th", "td"}
    assert error in table.text()


def test_wide_intervals_of_two_seeds_stay_within_100_percent() -> None:
    results, _ = synthetic_results(levels=(0.0, 0.4), methods=("vanilla",), seeds=(0, 1))
    rows = [row | {"final_accuracy": 0.6 + 0.3 * row["seed"]} for row in results.to_pylist()]
    canvas = accuracy(FigureData(with_series(rows), {}))
    low, high = canvas.axes[0].get_ylim()
    assert 0 <= low < high <= 100


def lacking(level: float, **axes: Any) -> tuple[list[dict[str, Any]], dict[Any, list[dict[str, Any]]]]:
    """Rows and curves of one color at 0, 20, 40 and 80 % whose last series or network has no run at `level`."""
    results, curves = synthetic_results(levels=(0.0, 0.2, 0.4, 0.8), colors=("red",), seeds=(0, 1), **axes)
    rows = with_series(summary_tables.finished(results))
    last = rows[-1]["network"], rows[-1]["method"]
    kept = [row for row in rows if (row["network"], row["method"]) != last or row["noise_level"] != level]
    return kept, dict(grouped(curves.to_pylist(), "run"))


def test_a_network_without_its_hardest_runs_is_compared_at_the_levels_of_all() -> None:
    rows, curves = lacking(0.8, methods=("vanilla",), networks=("small_cnn", "wide", "torchvision/resnet18"))
    [axis] = transfer(FigureData(rows, curves)).axes
    for line, (_, part) in zip(axis.get_lines(), grouped(rows, "network"), strict=True):
        levels = [[r["final_accuracy"] for r in part if r["noise_level"] == x] for x in (0.0, 0.2, 0.4)]
        assert line.get_xydata() == pytest.approx(
            np.array([[100 * np.mean(levels[0]), 100 * np.mean(levels[1:])]])
        )
    rows, curves = lacking(0.8, methods=("vanilla",), networks=("a", "b", "c"))
    rows = [row for row in rows if row["noise_level"] in (0.0, 0.8) or row["network"] == "c"]
    with pytest.raises(MissingDataError, match="that all networks have"):
        transfer(FigureData(rows, curves))


def test_a_method_without_its_hardest_runs_is_compared_at_the_levels_of_all() -> None:
    rows, curves = lacking(0.8, methods=("vanilla", "mixup"))
    data = FigureData(rows, curves)
    complete = FigureData([row for row in rows if row["noise_level"] < 0.8], curves)
    for name in ("spread", "belts"):
        drawn, expected = (
            [line.get_xydata() for axis in FIGURES[name](one).axes for line in axis.get_lines()]
            for one in (data, complete)
        )
        assert len(drawn) == len(expected) > 0
        for one, other in zip(drawn, expected, strict=True):
            assert one == pytest.approx(other)
        assert CAPTIONS[name][1](data) == CAPTIONS[name][1](complete)
    assert "the range of the two levels" in CAPTIONS["belts"][1](data)
    few = FigureData([row for row in rows if row["noise_level"] in (0.2, 0.8)], curves)
    for name in ("spread", "belts"):
        with pytest.raises(MissingDataError, match=r"needs two noise levels .*that all methods have"):
            FIGURES[name](few)


def test_the_caption_of_belts_names_the_bands_of_all_colors() -> None:
    results, curves = synthetic_results(methods=("vanilla", "mixup"))
    rows = with_series(summary_tables.finished(results))
    by_run = dict(summary_tables.grouped(curves.to_pylist(), "run"))
    rows = [row for row in rows if row["color"] == "blue" or row["noise_level"] < 0.8]
    caption = CAPTIONS["belts"][1](FigureData(rows, by_run))
    assert (
        "its 95 % interval, which reflects the differences between the levels, or the range of the two"
        in caption
    )


LONG = ("fine-tuned", "linear probe of a pretrained network, 96 pixels")
STUDIES: dict[str, Callable[[], tuple[pa.Table, pa.Table]]] = {
    "five series at ten levels": lambda: with_a_short_setting(
        levels=(0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8), seeds=(0, 1)
    ),
    "long names": lambda: synthetic_results(methods=("mentornet", "mentormix"), settings=LONG, seeds=(0,)),
    "one level": lambda: synthetic_results(levels=(0.4,), methods=("vanilla", "mentormix"), settings=LONG),
    "networks": lambda: synthetic_results(
        levels=(0, 0.4),
        methods=("vanilla",),
        seeds=(0,),
        networks=("small_cnn", "wide", "torchvision/resnet18"),
    ),
}


def texts(canvas: Figure) -> dict[str, Bbox]:
    """The visible texts of a figure with their extents, after layout."""
    canvas.draw_without_rendering()
    found: list[Text] = [text for legend in canvas.legends for text in legend.get_texts()]
    for axes in canvas.axes:
        found += [axes.title, axes.xaxis.label, axes.yaxis.label]
        for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            ticks = zip(axis.get_majorticklocs(), axis.get_major_ticks(), strict=True)
            found += [tick.label1 for at, tick in ticks if min(low, high) <= at <= max(low, high)]
    return {
        f"{index} {text.get_text()!r}": text.get_window_extent()
        for index, text in enumerate(found)
        if text.get_visible() and text.get_text()
    }


@pytest.mark.parametrize("width", [COLUMN, PAGE])
@pytest.mark.parametrize("study", STUDIES)
def test_texts_are_inside_the_figure_and_do_not_overlap(study: str, width: float) -> None:
    results, curves = STUDIES[study]()
    rows, by_run = summary_tables.finished(results), dict(grouped(curves.to_pylist(), "run"))
    drawn = []
    for name, draw in [*FIGURES.items(), ("transfer", transfer)]:
        data = FigureData(rows if name == "transfer" else with_series(rows), by_run, width)
        with matplotlib.style.context(["default", STYLE]), contextlib.suppress(MissingDataError):
            canvas = draw(data)
            boxes = texts(canvas)
            assert canvas.get_figwidth() == width
            drawn.append(name)
        for text, box in boxes.items():
            assert box.x0 >= -0.5, (name, text)
            assert box.x1 <= canvas.bbox.x1 + 0.5, (name, text)
            assert box.y0 >= -0.5, (name, text)
            assert box.y1 <= canvas.bbox.y1 + 0.5, (name, text)
        for (first, one), (second, other) in itertools.combinations(boxes.items(), 2):
            assert not one.padded(-1).overlaps(other.padded(-1)), (name, first, second)
    assert "accuracy" in drawn


def test_equal_results_give_equal_files(tmp_path: Path) -> None:
    made = synthetic_results(levels=(0.4,), methods=("vanilla",), seeds=(0,))
    for folder in ("a", "b"):
        draw_all(*made, tmp_path / folder)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert {name.partition(".")[2] for name in files} == {"png", "svg", "pdf"}
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_many_series_are_drawn_without_intervals_and_the_caption_promises_none() -> None:
    results, _ = synthetic_results(settings=("long", "short"), levels=(0.0, 0.4))
    data = FigureData(with_series(summary_tables.finished(results)), {})
    assert not any(axes.collections for axes in accuracy(data).axes)
    assert (
        CAPTIONS["accuracy"][1](data)
        == "After the last epoch. The table of all cells has the intervals and the best epochs."
    )
