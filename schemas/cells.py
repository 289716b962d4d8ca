"""Escape cells of CSV files that a spreadsheet would evaluate as a formula.

Spreadsheets evaluate cells that begin with =, +, -, @, a tab or a line break (OWASP, "CSV Injection"). A leading
apostrophe makes the cell text.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

ESCAPED = r"^'+[=+\-@\t\r\n＝＋－＠]"
"""Pattern of an escaped cell, for both `re` and Arrow (RE2)."""
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")


def escape_cell(value: Any) -> Any:
    """Prefix text that a spreadsheet would evaluate with an apostrophe; return other values unchanged.

    Text that already begins with apostrophes gets one more, so that `unescape_cell` restores any text.
    """
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def unescape_cell(text: str) -> str:
    """Undo `escape_cell`."""
    return text[1:] if re.match(ESCAPED, text) else text


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return rows as CSV with a header line, formulas escaped; None is an empty cell."""
    stream = io.StringIO()
    plain = csv.writer(stream, lineterminator="\n")
    quoted = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)
    plain.writerow(columns)
    for row in rows:
        cells = [escape_cell(value) for value in row]
        # Python does not quote a carriage return if lines end in \n, but readers end the line there.
        has_return = any(isinstance(cell, str) and "\r" in cell for cell in cells)
        (quoted if has_return else plain).writerow(cells)
    return stream.getvalue()
