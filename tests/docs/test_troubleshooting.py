"""The page on troubleshooting quotes messages that the code has."""

import ast

import pytest

from tests.docs.commands import ROOT

PAGE = ROOT / "docs" / "how-to" / "troubleshooting.md"
OF_TORCH = "CUDA out of memory"


def quoted() -> list[str]:
    """The messages in the first column of the table."""
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return [text for row in rows for text in row.split(" | ")[0].split("`")[1::2] if text != OF_TORCH]


@pytest.fixture(scope="module")
def texts() -> set[str]:
    """Every text in the code, and every part of an f-string between two values."""
    return {
        node.value
        for package in ("common", "schemas", "pipeline", "training")
        for file in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


@pytest.mark.parametrize("message", quoted())
def test_a_quoted_message_is_one_of_the_code(message: str, texts: set[str]) -> None:
    for part in filter(None, map(str.strip, message.split("…"))):
        assert any(part in text for text in texts), f"no message has {part!r}"
