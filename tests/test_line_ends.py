"""Lines of files end in a line feed: str.splitlines also splits at characters that stand within JSON and CSV values."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = [
    path.relative_to(ROOT)
    for package in ("pipeline", "training", "schemas", "common", "page", "demo")
    for path in sorted((ROOT / package).rglob("*.py"))
]


@pytest.mark.parametrize("file", FILES, ids=str)
def test_no_module_splits_text_at_other_characters(file: Path) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    used = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "splitlines"
    ]
    assert not used, "use files.read_lines, or split at '\\n'"
