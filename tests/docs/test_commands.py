"""Every command in the documents is one that the command lines know; those of the README are run as they stand."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.__main__ import parser as pipeline_parser
from tests.docs.commands import PAGES, ROOT, commands
from tests.pipeline.small_world import CLASSES, write_world
from training.__main__ import parser as training_parser

TO_BEAM = ("ingest", "aggregate", "dedupe", "split", "build", "verify")
COMMANDS = [(page.name, command) for page in PAGES for command in commands(page)]


@pytest.mark.parametrize(
    ("page", "command"), COMMANDS, ids=[f"{page}: {text[:60]}" for page, text in COMMANDS]
)
def test_a_command_is_one_that_there_is(page: str, command: str) -> None:
    words = shlex.split(command.rstrip("& "))
    if words[1:3] == ["-m", "training"]:
        training_parser().parse_args(words[3:])
    elif words[1:3] == ["-m", "pipeline"]:
        _, others = pipeline_parser().parse_known_args(words[3:])
        assert not [word for word in others if word.startswith("--") and words[3] not in TO_BEAM], others
    elif words[1] == "-m":
        assert words[2] in ("venv", "demo") or words[2].startswith(("apache_beam.", "benchmarks.", "pytest"))
        if words[2].startswith("benchmarks."):
            assert (ROOT / (words[2].replace(".", "/") + ".py")).is_file()
    else:
        assert (ROOT / words[1]).is_file(), words[1]


def test_the_way_of_the_readme_can_be_gone(tmp_path: Path) -> None:
    """In a folder that has `mine` as the README tells it, each of its commands does what it is there for.

    The small world has other classes and small images, so the recipe is `tiny`, with two epochs and one seed.
    """
    write_world(tmp_path / "mine")
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = page.partition("```yaml\nsource: mine\n")[2].partition("```")[0]
    assert shown, "the README shows no build.yaml"
    classes = re.sub("classes: .*", f"classes: [{', '.join(CLASSES)}]", shown)
    (tmp_path / "mine" / "build.yaml").write_text(
        f"source: mine\n{classes}ingest: {{size: 32, format: png}}\n"
    )
    tiny = ["--recipe", "tiny", "--set", "batch_size=16", "--set", "epochs=2", "--seeds", "0"]
    ran = []
    for command in commands(ROOT / "README.md"):
        words = shlex.split(command.replace(" --set network.weights=WEIGHTS", ""))
        if words[3] in (
            "retrieve",
            "list-folder",
            "view",
            "vote",
        ):  # asks the web; makes what is there; serves
            continue
        done = subprocess.run(
            [sys.executable, *words[1:], *(tiny if words[3] == "study" else [])],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        ran.append(words[3])
    assert {"ingest", "build", "verify", "study", "plot"} <= set(ran)
