"""Mapping of errors to exit codes and messages."""

import contextlib
import json
import os
import resource
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from common.command_line import Parser, add_verb, make_parser, run_verb
from common.errors import DataError, UsageError

EXTRAS = {"duckdb": "report"}


def failing(error: BaseException) -> Callable[[], int]:
    def verb() -> int:
        raise error

    return verb


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UsageError("no verb 'biuld'; build?"), 2, "error: no verb 'biuld'; build?"),
        (DataError("a.csv: no rows"), 1, "error: a.csv: no rows"),
        (
            ModuleNotFoundError("No module named 'duckdb'", name="duckdb"),
            1,
            "error: duckdb is not installed; pip install 'duckdb>=",
        ),
        (KeyboardInterrupt(), 130, "interrupted; finished work is kept"),
    ],
)
def test_user_errors_have_no_traceback(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_verb(failing(error), EXTRAS) == code
    assert capsys.readouterr().err.startswith(said)


TALKATIVE = """
import sys
from common.command_line import Parser, run_verb
sys.exit(run_verb(lambda: print("line\\n" * {lines}) or 0, {{}}))
"""


@pytest.mark.parametrize("package", ["pipeline", "training"])
def test_help_is_printed_in_any_encoding(package: str) -> None:
    verb = {"pipeline": "build", "training": "train"}[package]
    done = subprocess.run(
        [sys.executable, "-m", package, verb, "--help"], capture_output=True, text=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    if package == "pipeline":
        assert "CODE,\\u2026" in done.stdout


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_json_is_printed_in_any_encoding(encoding: str, tmp_path: Path) -> None:
    names = ["caf\u00e9", "\u72d7", "\U0001f41c"]
    for name in names:
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "1.jpg").write_bytes(b"\xff\xd8\xff")
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "list-folder", tmp_path / "photos", "--output", tmp_path / "a.csv", "--json"],
        capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding},
    )  # fmt: skip
    assert json.loads(done.stdout.decode(encoding))["classes"] == sorted(names)


@pytest.mark.parametrize("lines", [1, 100_000])
def test_a_verb_whose_output_nobody_reads_ends_in_silence(lines: int) -> None:
    command = [sys.executable, "-c", TALKATIVE.format(lines=lines)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as verb:
        assert verb.stdout is not None
        verb.stdout.close()
        verb.stdout = None
        assert verb.communicate()[1] == b""
    assert verb.returncode == 141


@pytest.mark.parametrize(
    "error",
    [ModuleNotFoundError("No module named 'x'", name="x"), KeyError("x"), BrokenPipeError("another's")],
)
def test_a_bug_keeps_its_traceback(error: Exception) -> None:
    with pytest.raises(type(error)):
        run_verb(failing(error), EXTRAS)


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("advise", "it was removed, since study, plot and report print its sentences"),
        ("stduy", "did you mean 'study'?"),
        ("xyz", ""),
    ],
)
def test_an_unknown_verb_gets_a_hint(verb: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser(prog="training")
    verbs = parser.add_subparsers(dest="verb")
    for name in ("train", "study", "distrusted"):
        verbs.add_parser(name)
    with pytest.raises(SystemExit):
        parser.parse_args([verb])
    error = capsys.readouterr().err.strip().rpartition("\n")[2]
    assert error.endswith(f"; {said}" if said else "'distrusted')")


def test_the_exit_code_of_a_verb_that_ends_is_its_own() -> None:
    assert run_verb(lambda: 7, EXTRAS) == 7


def test_a_full_disk_is_named_with_a_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    def verb() -> int:
        with open("/dev/full", "w", encoding="utf-8") as file:
            file.write("x")
        return 0

    assert run_verb(verb, {}) == 1
    assert "No space left on device; free disk space" in capsys.readouterr().err


def test_too_few_open_files_are_named_with_a_remedy(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def verb() -> int:
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (16, limits[1]))
        with contextlib.ExitStack() as stack:
            stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
            for number in range(16):
                stack.enter_context((tmp_path / str(number)).open("w"))
        return 0

    assert run_verb(verb, {}) == 1
    said = capsys.readouterr().err
    assert str(tmp_path) in said
    assert "Too many open files; allow more open files (ulimit -n 4096)" in said


def test_a_fault_of_the_machine_is_found_where_another_error_has_wrapped_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def verb() -> int:
        try:
            raise OSError(28, "No space left on device", "/x")
        except OSError as error:
            raise RuntimeError("a step failed") from error

    assert run_verb(verb, {}) == 1
    assert capsys.readouterr().err.startswith("error: /x: No space left on device; free disk space")


def test_a_warning_for_users_shows_no_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)  # restored afterwards
    run_verb(lambda: 0, {})
    assert warnings.formatwarning("few steps", UserWarning, "a.py", 3, "x = 1") == "warning: few steps\n"
    assert "a.py:3: DeprecationWarning" in warnings.formatwarning("old", DeprecationWarning, "a.py", 3)


@pytest.mark.parametrize("words", [["--output", "~/x"], ["--output=~/x"]])
def test_the_home_folder_is_found_where_the_shell_does_not_expand_it(
    monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """Otherwise `--output=~/x` makes a folder that is called ~."""
    monkeypatch.setenv("HOME", "/home/ant")
    top = make_parser("pipeline", "noise-pipeline", "")
    add_verb(top.add_subparsers(dest="verb"), "build", "", "").add_argument("--output")
    assert top.parse_args(["build", *words]).output == "/home/ant/x"
    assert top.parse_args(["build", "--output", "a~/x"]).output == "a~/x"
