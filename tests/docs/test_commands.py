"""Every command in the documents is one that the command lines know; those of the README are run as they stand."""

import re
import shlex
from pathlib import Path

import pytest

from pipeline.__main__ import BEAM_VERBS
from pipeline.__main__ import main as run_pipeline
from pipeline.__main__ import parser as pipeline_parser
from tests.docs.commands import PAGES, ROOT, commands
from tests.pipeline.small_world import CLASSES, write_world
from training.__main__ import main as run_training
from training.__main__ import parser as training_parser

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
        assert not [word for word in others if word.startswith("--") and words[3] not in BEAM_VERBS], others
    elif words[1] == "-m":
        assert words[2] in ("venv", "demo") or words[2].startswith(("apache_beam.", "benchmarks.", "pytest"))
        if words[2].startswith("benchmarks."):
            assert (ROOT / (words[2].replace(".", "/") + ".py")).is_file()
    else:
        assert (ROOT / words[1]).is_file(), words[1]


def test_the_way_of_the_readme_can_be_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder that has `mine` as the README tells it, each of its commands does what it is there for.

    The small world has other classes and small images, so the recipe is `tiny`, with one epoch and one seed.
    """
    write_world(tmp_path / "mine")
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = page.partition("```yaml\nsource: mine\n")[2].partition("```")[0]
    assert shown, "the README shows no build.yaml"
    classes = re.sub("classes: .*", f"classes: [{', '.join(CLASSES)}]", shown)
    (tmp_path / "mine" / "build.yaml").write_text(
        f"source: mine\n{classes}ingest: {{size: 32, format: png}}\n"
    )
    monkeypatch.chdir(tmp_path)
    mains = {"pipeline": run_pipeline, "training": run_training}
    tiny = ["--recipe", "tiny", "--set", "batch_size=16", "--set", "epochs=1", "--seeds", "0"]
    ran = []
    for command in commands(ROOT / "README.md"):
        words = shlex.split(command.replace(" --set network.weights=WEIGHTS", ""))
        if words[3] in ("retrieve", "list-folder", "view", "vote"):
            continue  # these ask the web, make what is there already, or serve until they are stopped
        assert words[:2] == ["python", "-m"]
        assert mains[words[2]]([*words[3:], *(tiny if words[3] == "study" else [])]) == 0, command
        ran.append(words[3])
    assert {"ingest", "build", "verify", "study", "plot"} <= set(ran)
