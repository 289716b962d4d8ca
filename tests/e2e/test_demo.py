"""`make demo` from end to end, with a smaller dataset."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    output = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "demo", "--quick", "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return output, done.stdout


def test_ends_by_naming_the_files_that_it_made(demo):
    output, printed = demo
    named = dict(re.findall(r"^(dataset|plot|summary) +(\S+)$", printed, re.MULTILINE))
    assert set(named) == {"dataset", "plot", "summary"}
    assert all(Path(path).exists() for path in named.values())
    assert Path(named["plot"]).read_bytes().startswith(b"\x89PNG")
    assert (output / "dataset" / "red-0.40" / "_manifest.json").is_file()


def test_shows_each_command_that_a_user_would_run(demo):
    _, printed = demo
    verbs = re.findall(r"^\$ python -m (\w+ \w+)", printed, re.MULTILINE)
    assert verbs == ["pipeline build", "pipeline verify", "training study", "training plot"]


def test_every_planted_problem_is_caught_and_the_noise_is_really_wrong(demo):
    output, _ = demo
    text = (output / "summary.md").read_text(encoding="utf-8")
    problems = text.partition("## Planted problems")[2].partition("## Verdicts")[0]
    counts = re.findall(r"\| [\w -]+ \| (\d+) \| (\d+) \|", problems)
    assert len(counts) == 13
    assert all(planted == caught for planted, caught in counts)
    assert float(re.search(r"([\d.]+) %\s+of the images with verdict no", text)[1]) > 95


def test_the_summary_has_an_accuracy_for_every_color_method_and_level(demo):
    output, _ = demo
    text = (output / "summary.md").read_text(encoding="utf-8").partition("## Accuracy")[2]
    for column in ("red, vanilla", "red, mentormix", "blue, vanilla", "blue, mentormix"):
        assert column in text
    assert len(re.findall(r"^\| (?:0|40) % (?:\| [\d.]+ / [\d.]+ / [\d–]+ ){4}\|$", text, re.MULTILINE)) == 2
