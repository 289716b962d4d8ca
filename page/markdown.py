"""Escape untrusted text for Markdown, in a line and in the cells of a table."""

import re
from collections.abc import Sequence

from page.text import is_link, is_unseen


def one_line(text: str) -> str:
    """Return text as one line in which control and invisible characters are visible, as U+FFFD."""
    visible = "".join("\ufffd" if is_unseen(c) and not c.isspace() else c for c in text)
    return " ".join(visible.split())


# What Markdown (CommonMark, and tables, strikethrough and mathematics of GitHub) interprets within a line and at its start.
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|&~$])")
_MARKDOWN_START = re.compile(r"^(?:(#|\+|-|=|:)|(\d{1,9})(?=[.)](?:\s|$)))")


def markdown_text(text: str) -> str:
    """Escape plain text for a line of Markdown or a cell of a table; text that is a web address becomes a link."""
    line = one_line(text)
    if is_link(line) and not set(line) & set("<>|\\`"):
        return f"<{line}>"
    line = _MARKDOWN.sub(r"\\\1", line)
    start = _MARKDOWN_START.match(line)
    if not start:
        return line
    return f"{start[2]}\\{line[start.end() :]}" if start[2] else f"\\{line}"


def markdown_table(head: Sequence[object], rows: Sequence[Sequence[object]], numeric_from: int = 1) -> str:
    """Return a table of plain text; the columns from `numeric_from` on are aligned to the right."""
    rule = ["---" if index < numeric_from else "---:" for index in range(len(head))]
    lines = [f"| {' | '.join(markdown_text(str(cell)) for cell in row)} |" for row in (head, *rows)]
    return "\n".join([lines[0], f"|{'|'.join(rule)}|", *lines[1:]])
