import json
import re
from pathlib import Path

import pytest

from pipeline.flex_template import launch
from pipeline.layout import STAGES
from schemas.manifest import MANIFEST
from tests.pipeline.small_world import write_world

HERE = Path(launch.__file__).parent
PARAMETERS = {p["name"]: p for p in json.loads((HERE / "metadata.json").read_text())["parameters"]}
GOOD = {
    "stage": STAGES,
    "config": ["gs://bucket/build.yaml", "gs://bucket/a/b.yml"],
    "output": ["gs://bucket/out"],
    "set": ["source=gs://bucket/lists", "noise.levels=[0, 0.2]", "ingest.fetch_threads=8"],
}
BAD = {
    "stage": ["build", "", "ingest label"],
    "config": ["/home/me/build.yaml", "gs://bucket", "gs://bucket/build.json"],
    "output": ["out", "gs://bucket", "gs:///out"],
    "set": ["source", "Source=x", "=x"],
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_parameter_is_checked_before_a_job_starts(name):
    (pattern,) = PARAMETERS[name]["regexes"]
    assert all(re.search(pattern, value) for value in GOOD[name])
    assert not any(re.search(pattern, value) for value in BAD[name])


def test_the_parameters_are_flags_of_the_command_line(tmp_path, capsys):
    world = write_world(tmp_path / "world")
    values = {
        "stage": "ingest",
        "config": str(world.config),
        "output": str(tmp_path / "out"),
        "set": "seed=1",
    }
    assert values.keys() == PARAMETERS.keys()
    assert launch.launch([f"--{name}={value}" for name, value in values.items()]) == 0
    assert (tmp_path / "out" / "ingest" / "images" / MANIFEST).exists()
    assert capsys.readouterr().out.startswith("ingest ")


def test_the_image_holds_what_the_package_is_made_of():
    """A Dockerfile cannot be built everywhere; what it copies must at least be there."""
    text = (HERE / "Dockerfile").read_text()
    copied = [name for line in re.findall(r"^COPY (.*)$", text, re.MULTILINE) for name in line.split()[:-1]]
    root = HERE.parents[1]
    assert copied
    assert all((root / name).exists() for name in copied)
    packages = re.search(r"find_packages\(include=\[(.*?)\]\)", (root / "setup.py").read_text())
    assert packages
    made_of = {name.strip('"* ') for name in packages[1].split(",")}
    assert made_of | {"setup.py", "README.md", "LICENSE", "pyproject.toml"} <= set(copied)
