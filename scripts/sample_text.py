"""Draw sentences and error messages at random from the project, to be read by an editor.

    python scripts/sample_text.py --seed 7 --count 20

A sentence is one of a docstring, a comment, a help text or a documentation page. An error is the text of a raised UsageError,
DataError or ValueError; values that are filled in are shown as {…}.
"""

import argparse
import ast
import random
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("common", "schemas", "page", "pipeline", "training", "demo", "scripts", "benchmarks")
ERRORS = ("UsageError", "DataError", "ValueError")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z`])")


def main() -> int:
    """Print the sample."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0, help="decides the sample (default: %(default)s)")
    parser.add_argument(
        "--count", type=int, default=20, help="of sentences, and of errors (default: %(default)s)"
    )
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    files = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    found = {"sentences": [], "errors": []}
    for path in files:
        found["sentences"] += [(path, text) for text in sentences(path)]
        found["errors"] += [(path, text) for text in errors(path)]
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        found["sentences"] += [(page, text) for text in page_sentences(page)]
    for title, texts in found.items():
        print(f"{title} ({len(texts):,})\n")
        for path, text in chance.sample(texts, min(arguments.count, len(texts))):
            print(f"- {path.relative_to(ROOT)}: {text}")
        print()
    return 0


def sentences(path: Path) -> Iterator[str]:
    """Yield the sentences of the docstrings, attribute texts and comments of a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            for paragraph in node.value.value.split("\n\n"):
                if not paragraph.startswith("    "):
                    yield from _split(paragraph)
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT and "noqa" not in token.string and "type:" not in token.string:
                yield from _split(token.string.lstrip("# "))


def page_sentences(path: Path) -> Iterator[str]:
    """Yield the sentences of a page, without code blocks and tables."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    lines = (line for line in text.splitlines() if not line.startswith(("|", "#", "!", "<")))
    for paragraph in "\n".join(lines).split("\n\n"):
        yield from _split(paragraph)


def errors(path: Path) -> Iterator[str]:
    """Yield the texts of the errors that a module raises."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ERRORS
            and node.args
        ):
            text = "".join(_text(node.args[0]))
            if len(text.replace("{…}", "")) > 10:
                yield text


def _text(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant):
        yield str(node.value)
    elif isinstance(node, ast.JoinedStr):
        for value in node.values:
            yield from _text(value)
    elif isinstance(node, ast.BinOp):
        yield from _text(node.left)
        yield from _text(node.right)
    else:
        yield "{…}"


def _split(text: str) -> list[str]:
    one_line = " ".join(text.split())
    return [sentence for sentence in _SENTENCE.split(one_line) if len(sentence.split()) > 3]


if __name__ == "__main__":
    sys.exit(main())
