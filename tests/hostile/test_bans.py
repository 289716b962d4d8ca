"""What no line of ours may do (docs/explanation/security.md): found in the syntax trees of all sources, not in their text."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SOURCES = [
    file
    for package in ("common", "page", "schemas", "pipeline", "training", "demo", "scripts", "benchmarks")
    for file in sorted((ROOT / package).rglob("*.py"))
] + [ROOT / "setup.py"]
# modules that run what they read
MODULES = {
    "pickle",
    "_pickle",
    "cPickle",
    "shelve",
    "marshal",
    "dill",
    "cloudpickle",
    "joblib",
    "xmlrpc",
    "jsonpickle",
}
CALLS = {
    "eval", "exec", "compile", "__import__",
    "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput",
    "yaml.load", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all",
    "pandas.read_pickle", "pd.read_pickle", "tempfile.mktemp",
    "ssl._create_unverified_context", "torch.hub.load", "torch.save",
}  # fmt: skip
# keyword arguments, with the values that no call may give them
ARGUMENTS = {
    "shell": True, "verify": False, "allow_pickle": True, "weights_only": False, "check_hostname": False,
    "trust_remote_code": True, "verify_ssl": False,
}  # fmt: skip
# and those that a call must give
NEEDED = {"np.load": "allow_pickle", "numpy.load": "allow_pickle", "torch.load": "weights_only"}
NAMES = {"CERT_NONE"}
# what reads rows of Parquet files without a limit of memory; common/parquet_rows.py has one
PARQUET = {
    "parquet.read_table",
    "pq.read_table",
    "parquet.read_pandas",
    "pd.read_parquet",
    "pandas.read_parquet",
}
PARQUET_METHODS = {"iter_batches", "read_row_group", "read_row_groups"}


def breaches(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of whatever is banned."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from ((node.lineno, name) for name in names if name.split(".")[0] in MODULES)
        elif isinstance(node, ast.Attribute | ast.Name) and ast.unparse(node).split(".")[-1] in NAMES:
            yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in CALLS:
                yield node.lineno, name
            given = {word.arg: word.value for word in node.keywords}
            for word, value in given.items():
                if word in ARGUMENTS and not (
                    isinstance(value, ast.Constant) and value.value is not ARGUMENTS[word]
                ):
                    yield node.lineno, f"{word}={ast.unparse(value)}"
            if name in NEEDED and NEEDED[name] not in given:
                yield node.lineno, f"{name} without {NEEDED[name]}"


def test_no_source_does_what_is_banned() -> None:
    assert len(SOURCES) > 150
    result = [
        f"{file.relative_to(ROOT)}:{line}: {what}"
        for file in SOURCES
        for line, what in breaches(ast.parse(file.read_text(encoding="utf-8")))
    ]
    assert not result


def test_parquet_files_are_read_in_one_place() -> None:
    found = {
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file in SOURCES
        if file.relative_to(ROOT).parts[0] in ("common", "schemas", "pipeline", "training")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and (ast.unparse(node.func) in PARQUET or ast.unparse(node.func).split(".")[-1] in PARQUET_METHODS)
    }
    assert {place.partition(":")[0] for place in found} == {"common/parquet_rows.py"}


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from pickle import loads",
        "import os, dill",
        "eval('1')",
        "os.system('ls')",
        "subprocess.run('ls', shell=True)",
        "subprocess.run('ls', shell=given)",
        "yaml.load(text)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "httpx.Client(verify=False)",
        "context.verify_mode = ssl.CERT_NONE",
        "datasets.load_dataset(name, trust_remote_code=True)",
    ],
)
def test_the_search_finds_what_it_is_for(text: str) -> None:
    assert list(breaches(ast.parse(text)))
