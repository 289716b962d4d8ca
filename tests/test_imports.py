"""The import graph of our packages: no circle anywhere, and no Beam in the core."""

import ast
import re
import subprocess
import sys
import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("common", "schemas", "page", "pipeline", "training", "demo")

# All of pipeline/ that needs Beam: the jobs, and what starts one.
NEEDS_BEAM = (
    "pipeline.build",
    "pipeline.interface",
    "pipeline.jobs",
    "pipeline.plan",
    "pipeline.running.dataflow_client",
    "pipeline.running.endpoints",
    "pipeline.running.metrics",
    "pipeline.running.options",
    "pipeline.running.preflight",
    "pipeline.running.run",
    "pipeline.running.dataflow_jobs",
    "pipeline.running.worker_setup",
)
# These start a build, and import what they need for it only then.
COMMAND_LINE = ("pipeline.__main__", "pipeline.verbs", "pipeline.flex_template")


def modules() -> dict[str, Path]:
    """All modules of our packages by their dotted name."""
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def imports(tree: ast.AST, known: dict[str, Path]) -> set[str]:
    """The modules of ours that a module imports, anywhere but under `if TYPE_CHECKING`.

    A package does not count as imported because a module inside of it is.
    """
    found = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            names = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            found |= {full if full in known else str(node.module) for full in names.values()}
        found |= imports(node, known)
    return {name for name in found if name in known}


def is_in(name: str, places: tuple[str, ...]) -> bool:
    """Whether a module is one of `places`, or inside of one."""
    return any(name == place or name.startswith(f"{place}.") for place in places)


def core() -> list[str]:
    """The modules of pipeline/ that must do without Beam."""
    return sorted(name for name in modules() if is_in(name, ("pipeline",)) and not is_in(name, NEEDS_BEAM))


def test_no_module_imports_itself_by_way_of_others():
    known = modules()
    graph = {name: imports(ast.parse(path.read_text()), known) - {name} for name, path in known.items()}
    assert len(graph) > 200, "the packages were not found"
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("import circle: " + " ← ".join(error.args[1]))


# Function-level imports count, and those that only a type checker follows do not.
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from common import errors", {"common.errors"}),
        ("from common.errors import DataError", {"common.errors"}),
        ("def f():\n    import common.errors", {"common.errors"}),
        ("try:\n    import os\nexcept ImportError:\n    from pipeline import files", {"pipeline.files"}),
        ("if TYPE_CHECKING:\n    from common import errors", set()),
    ],
)
def test_imports_are_found_wherever_they_stand(text, expected):
    assert imports(ast.parse(text), modules()) == expected


def test_the_core_can_be_imported_without_beam():
    lines = [f"import {name}" for name in core()]
    check = "import sys; assert 'apache_beam' not in sys.modules, 'Beam was imported'"
    subprocess.run([sys.executable, "-c", "\n".join([*lines, check])], cwd=ROOT, check=True)


def test_torch_is_imported_by_one_module_of_the_pipeline_and_not_before_it_is_needed():
    lazy = "pipeline.embed.network"
    users = {
        name
        for name, path in modules().items()
        if is_in(name, ("pipeline",))
        and re.search(r"^\s*(import|from) (torch|timm|safetensors)\b", path.read_text(), re.M)
    }
    assert users == {lazy}
    lines = [f"import {name}" for name in sorted(modules()) if is_in(name, ("pipeline",)) and name != lazy]
    check = "import sys; assert not {'torch', 'timm', 'safetensors'} & set(sys.modules), 'torch was imported'"
    subprocess.run([sys.executable, "-c", "\n".join([*lines, check])], cwd=ROOT, check=True)


def test_the_import_linter_checks_the_same_core():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = [one for one in contracts if one["name"] == "the core knows no Beam"]
    checked = tuple(contract["source_modules"])
    packages = {"pipeline", "pipeline.running"}  # whose modules are listed one by one
    unchecked = {name for name in core() if not is_in(name, (*checked, *COMMAND_LINE))}
    assert unchecked == packages
    assert not [name for name in checked if is_in(name, NEEDS_BEAM)]


# What a release of Beam may change without notice is not used: no other module of it, no name with an underscore, and
# nothing of Beam's is set to something else.
PUBLIC_BEAM = {
    "apache_beam",
    "apache_beam.metrics",
    "apache_beam.options.pipeline_options",
    "apache_beam.runners.portability.fn_api_runner",
    "apache_beam.runners.runner",
}


def private_uses_of_beam(tree: ast.AST) -> list[str]:
    """What a module does with Beam that is not part of its public API."""
    found, names = [], set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = {alias.name: alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and str(node.module).startswith("apache_beam"):
            modules = {str(node.module): ""}
            names |= {alias.asname or alias.name for alias in node.names}
            found += [alias.name for alias in node.names if alias.name.startswith("_")]
            if node.module == "apache_beam.runners.portability.fn_api_runner":
                found += [alias.name for alias in node.names if alias.name != "FnApiRunner"]
        else:
            continue
        beams = {module: name for module, name in modules.items() if module.startswith("apache_beam")}
        names |= set(beams.values())
        found += [module for module in beams if module not in PUBLIC_BEAM]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node).partition(".")[0] in names:
            is_private = node.attr.startswith("_") and not node.attr.startswith("__")
            if is_private or isinstance(node.ctx, ast.Store):
                found.append(ast.unparse(node))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "setattr":
            found += [ast.unparse(node)] * (ast.unparse(node.args[0]).partition(".")[0] in names)
    return found


def test_no_private_api_of_beam_is_used():
    found = {
        name: private_uses_of_beam(ast.parse(path.read_text()))
        for name, path in modules().items()
        if is_in(name, ("pipeline",))
    }
    assert {name: uses for name, uses in found.items() if uses} == {}


@pytest.mark.parametrize(
    "text",
    [
        "from apache_beam.runners.worker import sdk_worker_main",
        "from apache_beam.runners.portability.fn_api_runner import worker_handlers",
        "import apache_beam.runners.worker.sdk_worker",
        "import apache_beam as beam\nbeam.Pipeline._create_runner",
        "import apache_beam as beam\nbeam.Pipeline.run = print",
        "from apache_beam.runners.runner import PipelineRunner\nsetattr(PipelineRunner, 'run', print)",
    ],
)
def test_private_uses_of_beam_are_found(text):
    assert private_uses_of_beam(ast.parse(text))
