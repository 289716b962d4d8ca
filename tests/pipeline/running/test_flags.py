"""Beam's flags are accepted in exactly the spellings that Beam's parser accepts."""

import argparse
import re
from collections.abc import Callable

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from common.errors import UsageError
from pipeline.__main__ import parser as our_parser
from pipeline.running.options import beam_options, full_runner_name

OURS = {"--help", "--dry_run", "--on_interrupt"}  # Beam's parser has them, too


def beams_parser() -> argparse.ArgumentParser:
    """The parser to which all option classes of Beam have added their flags."""
    result: list[argparse.ArgumentParser] = []
    PipelineOptions([]).get_all_options(add_extra_args_fn=result.append)
    return result[0]


PARSER = beams_parser()
USAGE = PARSER.format_usage()
SPELLINGS = sorted(set(re.findall(r"--[\w-]+", USAGE)) - OURS)


def forms(flag: str) -> list[list[str]]:
    """A flag alone and with values, apart; joined with one that most flags accept."""
    values = ["1", "x", '{"a": "b"}', "DirectRunner"]
    values += re.findall(r"[\w.-]+", (re.search(rf"{re.escape(flag)} {{([^}}]*)}}", USAGE) or ["", ""])[1])
    return [[flag], [f"{flag}=1"], [f"{flag}=a=b"], *([flag, value] for value in values)]


def accepted(parse: Callable[[list[str]], object], arguments: list[str]) -> bool:
    try:
        parse(arguments)
    except (SystemExit, TypeError, ValueError):
        return False
    return True


def parse_as_beam(arguments: list[str]) -> None:
    _, unknown = PARSER.parse_known_args(arguments)
    if unknown:
        raise ValueError(unknown)
    if arguments[0].startswith("--runner") and "DirectRunner" not in arguments[-1]:
        raise ValueError("no runner of this name")


def test_beam_has_the_spellings_that_are_looked_for():
    assert len(SPELLINGS) > 150
    assert {
        "--worker_machine_type",
        "--experiment",
        "--label",
        "--extra_package",
        "--no_use_public_ips",
    } <= set(SPELLINGS)


@pytest.mark.parametrize("flag", SPELLINGS)
def test_every_spelling_of_beams_is_accepted_in_every_form_in_which_beam_accepts_it(flag, capsys):
    tried = {tuple(form): accepted(parse_as_beam, form) for form in forms(flag)}
    assert any(tried.values()), "no form that Beam accepts was found; extend forms()"
    for form, by_beam in tried.items():
        assert accepted(beam_options, list(form)) == by_beam, form
        _, others = our_parser().parse_known_args(["build", "--config=c", "--output=o", *form])
        assert others == list(form), "the command line passes it on"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--projct=3"], r"unknown flag --projct; did you mean --project\?"),
        (["--experimnt", "a"], r"unknown flag --experimnt; did you mean --experiment"),
        (["--num_workers=x"], "argument --num_workers: invalid int value: 'x'"),
        (["--worker_machine_type"], "argument --worker_machine_type/--machine_type: expected one argument"),
        (["--sdk_harness_log_level_overrides=1"], "--sdk_harness_log_level_overrides=1: one of these values"),
        (["-x"], "unknown flag -x"),
        (["--xyzzy"], "unknown flag --xyzzy; see --help for the flags of this command"),
    ],
)
def test_flags_that_beam_would_ignore_or_refuse_are_usage_errors_with_suggestions(given, words):
    with pytest.raises(UsageError, match=words):
        beam_options(given)


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("prism", "PrismRunner"), ("PRISM", "PrismRunner"), ("PrismRunner", "PrismRunner"), ("flinkrunner", "FlinkRunner"),
        ("Dataflow", "DataflowRunner"), ("apache_beam.runners.direct.direct_runner.DirectRunner", "DirectRunner"),
        ("my.own.Runner", "my.own.Runner"),
    ],
)  # fmt: skip
def test_runners_have_one_name_whatever_the_spelling(name, full):
    assert full_runner_name(name) == full


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("DirctRunner", "did you mean DirectRunner?"), ("dataflw", "did you mean DataflowRunner?"),
        ("prismrunnr", "did you mean PrismRunner?"), ("xyzzy", "choose one of "),
    ],
)  # fmt: skip
def test_an_unknown_runner_is_a_usage_error_with_a_suggestion(name, hint):
    with pytest.raises(UsageError, match=f"unknown runner '{name}'") as caught:
        full_runner_name(name)
    assert hint in str(caught.value)
