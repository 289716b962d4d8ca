"""A document of headings, paragraphs, lists and tables, rendered as Markdown and as LaTeX.

All text is plain: class names, licenses and authors come from lists that others wrote, so that each renderer escapes
every character that its format would interpret.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from common.latex import escape
from page.markdown import markdown_table, markdown_text, one_line
from page.text import is_unseen


@dataclass(frozen=True)
class Code:
    """A name in the text, such as that of a column or of a file."""

    text: str


Part = str | Code


@dataclass(frozen=True)
class Heading:
    """A heading of level 1 to 3."""

    text: str
    level: int = 2


class Paragraph:
    """A paragraph of text and names."""

    def __init__(self, *parts: Part) -> None:
        self.parts = parts


@dataclass(frozen=True)
class Items:
    """A list of short paragraphs."""

    items: Sequence[Paragraph]


@dataclass(frozen=True)
class Grid:
    """A table: a header and rows of text. numeric_from: index of the first column that is aligned to the right."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric_from: int = 1


@dataclass(frozen=True)
class Verbatim:
    """Text that is shown as it is, such as a configuration; `language` is a hint for highlighting."""

    text: str
    language: str = ""


Block = Heading | Paragraph | Items | Grid | Verbatim


def items(texts: Iterable[str]) -> Items:
    """Return a list of plain texts."""
    return Items([Paragraph(text) for text in texts])


def markdown(blocks: Iterable[Block]) -> str:
    """Return the document as Markdown."""
    return "\n\n".join(_markdown_block(block) for block in blocks) + "\n"


def _markdown_block(block: Block) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {markdown_text(block.text)}"
    if isinstance(block, Paragraph):
        return _markdown_parts(block)
    if isinstance(block, Items):
        return "\n".join(f"- {_markdown_parts(item)}" for item in block.items)
    if isinstance(block, Verbatim):
        return _fenced(block)
    return markdown_table(block.header, block.rows, block.numeric_from)


def _fenced(block: Verbatim) -> str:
    text = _visible_lines(block.text)
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{block.language}\n{text}\n{fence}"


def _visible_lines(text: str) -> str:
    lines = text.rstrip("\n").split("\n")
    return "\n".join("".join("\ufffd" if is_unseen(c) and c != "\t" else c for c in line) for line in lines)


def _markdown_parts(paragraph: Paragraph) -> str:
    return "".join(
        f"`{one_line(part.text).replace('`', chr(0x27))}`" if isinstance(part, Code) else _edges(part)
        for part in paragraph.parts
    ).strip()


def _edges(text: str) -> str:
    """Escape a part of a paragraph, and keep one space where it starts or ends with one."""
    before, after = (" " if text[:1].isspace() else ""), (" " if text[-1:].isspace() else "")
    return f"{before}{markdown_text(text)}{after}"


def latex_text(text: str) -> str:
    """Escape plain text for LaTeX, in a paragraph or in a cell of a table."""
    return escape(one_line(text))


_SECTIONS = {1: "section", 2: "subsection", 3: "subsubsection"}


def latex(blocks: Iterable[Block]) -> str:
    r"""Return the document as LaTeX for \input: sections, itemize and longtable (package longtable)."""
    return "\n\n".join(_latex_block(block) for block in blocks) + "\n"


def _latex_block(block: Block) -> str:
    if isinstance(block, Heading):
        return f"\\{_SECTIONS[block.level]}{{{latex_text(block.text)}}}"
    if isinstance(block, Paragraph):
        return _latex_parts(block)
    if isinstance(block, Items):
        listed = (f"\\item {{}}{_latex_parts(item)}" for item in block.items)
        return "\n".join(["\\begin{itemize}", *listed, "\\end{itemize}"])
    if isinstance(block, Verbatim):
        return _listing(block)
    columns = "".join("l" if i < block.numeric_from else "r" for i in range(len(block.header)))
    lines = [
        f"\\begin{{longtable}}{{{columns}}}",
        "\\hline",
        f"{' & '.join(map(latex_text, block.header))} \\\\",
        "\\hline\\endhead",
        *(f"{' & '.join(map(latex_text, row))} \\\\" for row in block.rows),
        "\\hline",
        "\\end{longtable}",
    ]
    return "\n".join(lines)


def _listing(block: Verbatim) -> str:
    """Return lines in a typewriter font, with their indentation; verbatim would end at a line that says so."""
    lines = []
    for line in _visible_lines(block.text).expandtabs(2).split("\n"):
        indent = len(line) - len(line.lstrip(" "))
        lines.append(f"\\mbox{{}}{'~' * indent}{latex_text(line)}\\\\")
    return "\n".join(["\\begingroup\\ttfamily\\raggedright\\noindent", *lines, "\\endgroup"])


def _latex_parts(paragraph: Paragraph) -> str:
    return "".join(
        f"\\texttt{{{latex_text(part.text)}}}" if isinstance(part, Code) else _latex_edges(part)
        for part in paragraph.parts
    ).strip()


def _latex_edges(text: str) -> str:
    before, after = (" " if text[:1].isspace() else ""), (" " if text[-1:].isspace() else "")
    return f"{before}{latex_text(text)}{after}"
