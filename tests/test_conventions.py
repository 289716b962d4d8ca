"""The files that hosts, packagers and citation tools read agree with setup.py and the Makefile."""

import ast
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parent.parent
SETUP = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
SCHEMA = ROOT / "tests" / "golden" / "citation_file_format" / "schema-1.2.0.json"


def setup_value(name: str) -> Any:
    """A constant of setup.py, or a keyword argument of its call of setup()."""
    for node in ast.walk(SETUP):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
        if isinstance(node, ast.keyword) and node.arg == name:
            return ast.literal_eval(node.value)
    raise KeyError(name)


def targets(text: str) -> set[str]:
    return set(re.findall(r"\bmake ([a-z-]+)", text))


MAKEFILE = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def test_the_conda_recipe_has_the_requirements_of_setup():
    recipe = yaml.safe_load((ROOT / "conda" / "meta.yaml").read_text(encoding="utf-8"))
    run = [line.replace(" ", "") for line in recipe["requirements"]["run"]]
    assert run == [f"python{setup_value('python_requires')}", *setup_value("PIPELINE")]
    assert recipe["package"] == {"name": setup_value("name"), "version": setup_value("version")}
    scripts = setup_value("entry_points")["console_scripts"]
    assert recipe["build"]["entry_points"] == scripts


def test_the_citation_file_is_valid_and_has_the_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    jsonschema.Draft7Validator(json.loads(SCHEMA.read_text())).validate(cited)
    assert cited["version"] == setup_value("version")
    assert cited["license"] == setup_value("license_expression")


def test_ci_and_commit_hooks_call_targets_that_there_are():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    called = {
        step["run"].removeprefix("make ")
        for job in workflow["jobs"].values()
        for step in job["steps"]
        if "run" in step
    }
    called = called - {"${{ matrix.target }}"} | set(workflow["jobs"]["more"]["strategy"]["matrix"]["target"])
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    called |= {hook["entry"].removeprefix("make ") for repo in hooks["repos"] for hook in repo["hooks"]}
    assert {"test", "check", "docs"} <= called <= MAKEFILE


def test_ci_tests_the_pythons_of_the_classifiers():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    stated = [c.rsplit(" ", 1)[1] for c in setup_value("classifiers") if re.search(r":: 3\.\d+$", c)]
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == stated


def test_the_image_holds_all_packages_and_runs_without_root():
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = {line.split()[1] for line in lines if line.startswith("COPY ") and len(line.split()) == 3}
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {
        "tests",
        "demo",
        "benchmarks",
        "scripts",
    }
    assert copied == packages
    assert [line for line in lines if line.startswith("FROM")] == ["FROM python:3.11-slim"]
    user = [line.split()[1] for line in lines if line.startswith("USER")]
    assert user == ["noise"]
    kept = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {f"!{name}" for name in packages} <= set(kept)


def has_docker() -> bool:
    return (
        bool(shutil.which("docker"))
        and not subprocess.run(["docker", "info"], capture_output=True).returncode
    )


@pytest.mark.skipif(not has_docker(), reason="needs a running Docker")
def test_the_image_can_be_built_and_shows_its_version():
    done = subprocess.run(["make", "docker"], cwd=ROOT, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{setup_value('name')} {setup_value('version')}"


def test_no_page_names_a_target_that_does_not_exist():
    for name in ("CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md"):
        assert targets((ROOT / name).read_text(encoding="utf-8")) <= MAKEFILE, name
