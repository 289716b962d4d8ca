"""Commands that people mistype or give too early: the error names what to do instead."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.__main__ import main
from tests.pipeline.small_world import World


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The error of a command that fails."""
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as stop:
        code = int(str(stop.code))
    assert code in (1, 2)
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "reported"),
    [
        ("buidl", "did you mean 'build'?"),
        ("list-foler x", "did you mean 'list-folder'?"),
        ("export d --set-name s --format foldr --output o", "did you mean 'folder'?"),
        ("export d --set-nam s --format folder --output o", "did you mean --set-name instead of --set-nam?"),
        (
            "import-cnwl a --images i --output o --set-name mini-imagenet",
            "did you mean --dataset instead of --set-name?",
        ),
        ("verify d --jsno", "did you mean --json instead of --jsno?"),
        ("build --confg x --output o", "did you mean --config instead of --confg?"),
        ("build --config x --output o --set aggregate.method=majorty", "no such file"),
    ],
)
def test_a_misspelled_word_suggests_the_nearest(capsys, command: str, reported: str) -> None:
    assert reported in said(capsys, *command.split())


@pytest.mark.parametrize(
    ("value", "reported"),
    [
        ("aggregate.method=majorty", "did you mean 'majority'?"),
        ("noise.colors=[redd]", "did you mean 'red'?"),
        ("noise.levels=[20]", "levels must be shares from 0 up to less than 1, got 20; 20 % is 0.2"),
        ("aggregate.max_rejected_share=10", "max_rejected_share is a share from 0 to 1, got 10; 10 % is 0.1"),
        ("aggregate.answer_words={None: no}", "marks a missing value in vote files"),
        ("classes=[ant, nan]", "'nan' stands for a missing value in lists"),
        ("classes=[ant, 'a\\u200bb']", "classes: "),
        ("noise.levels=[]", "levels is empty, so that there is no training set"),
        ("noise.colors=[]", "colors is empty, so that there is no training set"),
        ("clean=[]", "clean names no list, but sets need clean images"),
        ("test=[]", "test names no list, but sets need test images"),
        ("dedupe.min_contrast=1e308", "min_contrast must be 0 to 255, got 1e+308"),
        ("aggregate.smoothing=1e308", "smoothing must be 0 to 1,000,000, got 1e+308"),
        ("classes=[1, 2]", "YAML reads it as int, so write the text in quotes"),
    ],
)
def test_a_wrong_value_names_the_right_form(
    world: World, tmp_path, capsys, value: str, reported: str
) -> None:
    value = value.encode().decode("unicode_escape")
    assert reported in said(
        capsys, "build", "--config", world.config, "--output", tmp_path / "o", "--set", value
    )


def test_a_misspelled_flag_beside_those_of_beam_is_suggested(world: World, tmp_path, capsys) -> None:
    reported = said(capsys, "build", "--config", world.config, "--output", tmp_path / "o", "--forse")
    assert "unknown flag --forse" in reported
    assert "did you mean --force instead of --forse?" in reported


@pytest.mark.parametrize(
    ("stage", "needed"), [("aggregate", "ingest"), ("dedupe", "ingest"), ("split", "ingest")]
)
def test_a_stage_that_is_run_too_early_names_the_one_before(world, tmp_path, capsys, stage, needed) -> None:
    reported = said(capsys, stage, "--config", world.config, "--output", tmp_path / "o")
    assert (
        f"the {needed} stage has not finished here; run `python -m pipeline {needed}` (or build)" in reported
    )


def test_a_stage_between_is_named_too(world: World, built: Path, tmp_path: Path, capsys) -> None:
    shutil.copytree(built / "ingest", tmp_path / "o" / "ingest")
    reported = said(capsys, "split", "--config", world.config, "--output", tmp_path / "o")
    assert "the aggregate stage has not finished here" in reported


@pytest.mark.parametrize(
    ("verb", "folder", "reported"),
    [
        ("verify", ".", "did you mean {built}/dataset?"),
        ("verify", "dataset/red-0.20", "did you mean {built}/dataset?"),
        ("verify", "nosuch", "no such folder"),
        ("report", "dataset", "holds no build; did you mean {built}?"),
        ("report", "nosuch", "no such folder; give the folder that `build --output` wrote"),
    ],
)
def test_a_folder_beside_the_right_one_names_that(built: Path, capsys, verb, folder, reported) -> None:
    path = str(built) if folder == "." else str(built / folder)
    assert reported.format(built=built) in said(capsys, verb, path)


def test_a_set_with_fewer_digits_suggests_the_one_that_there_is(built: Path, tmp_path: Path, capsys) -> None:
    reported = said(
        capsys,
        "export",
        built / "dataset",
        "--set-name",
        "red-0.2",
        "--format",
        "folder",
        "--output",
        tmp_path / "x",
    )
    assert "did you mean red-0.20?" in reported


@pytest.mark.parametrize("module", ["pipeline", "training"])
def test_both_command_lines_print_their_version(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("controlled-noise ")


def test_a_configuration_in_another_normal_form_is_the_same(world: World, tmp_path: Path) -> None:
    from pipeline.config import load_config, make_config

    given = [
        "classes=" + json.dumps(["cafe\u0301 ", "b\u00a0c"]),
        'noise.class_map={"caf\u00e9": "b c"}',
        'noise.allow_empty_classes=["cafe\u0301"]',
    ]
    config = load_config(str(world.config), given)
    assert config.classes == ("caf\u00e9", "b c")
    assert config.noise.allow_empty_classes == ("caf\u00e9",)
    lists = {"source": ".", "clean": [], "test": [], "web": [], "votes": []}
    noise = {"allow_empty_classes": ("cafe\u0301",)}
    assert make_config({**lists, "classes": ("cafe\u0301 ", "b"), "noise": noise}).classes == (
        "caf\u00e9",
        "b",
    )


def test_fetch_says_that_no_list_has_a_url(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fetch", "--config", str(world.config), "--output", str(tmp_path / "out")]) == 0
    assert "no list has a URL; there is nothing to download" in capsys.readouterr().out
