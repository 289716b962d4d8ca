"""Cells of CSV files that people open in a spreadsheet: text that would be taken for a formula is escaped.

A spreadsheet evaluates a cell that begins with =, +, -, @, a tab or a line break, whoever wrote it (OWASP, "CSV
Injection"). An apostrophe in front makes the cell text.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

ESCAPED = r"^'+[=+\-@\t\r\n＝＋－＠]"
"""An escaped cell, as a pattern for both `re` and Arrow (RE2)."""
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")


def escape_cell(value: Any) -> Any:
    """Return the value with an apostrophe in front if it is text that a spreadsheet would evaluate.

    Text that already has apostrophes there gets one more, so that removing one from every cell that matches `ESCAPED`
    gives back any text.
    """
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def unescape_cell(text: str) -> str:
    """Return text as it was before `escape_cell`."""
    return text[1:] if re.match(ESCAPED, text) else text


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return rows as CSV with a header line, formulas escaped; None is an empty cell."""
    stream = io.StringIO()
    plain = csv.writer(stream, lineterminator="\n")
    quoted = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)
    plain.writerow(columns)
    for row in rows:
        cells = [escape_cell(value) for value in row]
        # Python leaves a carriage return outside quotes if lines end otherwise; readers end the line there.
        has_return = any(isinstance(cell, str) and "\r" in cell for cell in cells)
        (quoted if has_return else plain).writerow(cells)
    return stream.getvalue()
