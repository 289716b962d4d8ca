"""Normalize values in the same way for all file formats: missing values, numbers and identifiers."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from difflib import get_close_matches

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

MAX_SUGGESTIONS = 100  # names of a batch for which a near one is looked for
MAX_COMPARED = 80  # characters of a name
MISSING = ("", "nan", "NaN", "NAN", "-nan", "null", "NULL", "None", "NaT", "<NA>", "#N/A")
"""Texts that mean a missing value, as pandas, NumPy, JSON, SQL and Excel write it."""
IDENTIFIERS = ("image_id", "class_name", "worker_id", "set_name", "seen_class")
"""Columns of identifiers, which are normalized and then compared by code point."""
NUMBERS = (*IDENTIFIERS, "answer", "rank")
"""Columns in which 3.0 means 3: pandas converts a column of integers with a missing value to floats."""
VERBATIM = ("path",)
"""Columns in which leading and trailing spaces are kept."""
MAX_ID_BYTES = 200
MAX_NUMBER = 1000
"""Longest number in characters that is rewritten: Python refuses to convert 4,300 digits, and takes quadratic time."""

_NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+([eE][+-][0-9]{1,3})?|[eE][+-][0-9]{1,3})$|^-0$"  # with decimal point or exponent
_PLAIN = r"^[!-~]([ -~]*[!-~])?$"
_SPACES = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
# Unicode's Default_Ignorable_Code_Point, but for joiners and variation selectors, and the blank Braille pattern.
_INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_JOINERS = (
    "\u200c\u200d\ufe00-\ufe0f"  # used in Persian and Indic words and in emoji; meaningless after ASCII
)
_AT_ENDS = re.compile(rf"^[\s{_INVISIBLE}\u200c\u200d]+|[\s{_INVISIBLE}\u200c\u200d]+$")
FORBIDDEN = f"[\\x00-\\x1f\\x7f-\x9f\u2028\u2029{_INVISIBLE}]|(^|[\\x00-\\x7f])[{_JOINERS}]"
"""Pattern of control and invisible characters, which identifiers must not contain, for `re` and Arrow (RE2)."""


def normalize_identifier(text: str) -> str:
    """Return the identifier in Unicode form NFC, with plain spaces, stripped of blanks and invisible characters."""
    return _AT_ENDS.sub("", _SPACES.sub(" ", unicodedata.normalize("NFC", text)))


def identifier_fault(text: str) -> str | None:
    """Return what is wrong with a normalized identifier, or None."""
    if len(text.encode(errors="replace")) > MAX_ID_BYTES:
        return f"it is longer than {MAX_ID_BYTES} bytes"
    if match := re.search(FORBIDDEN, text):
        return f"it contains the control or invisible character U+{ord(match[0][-1]):04X}"
    return None


def normalize_column(name: str, values: pa.Array) -> pa.Array:
    """Normalize a column of text; its name decides which rules apply.

    Missing values become null in all columns. Leading and trailing spaces are removed except in `VERBATIM`. In `NUMBERS`,
    whole numbers lose decimal point and exponent. `IDENTIFIERS` are normalized.
    """
    trimmed = pc.utf8_trim_whitespace(values)
    if name in IDENTIFIERS:
        trimmed = _replace_where(trimmed, pc.invert(_matches(trimmed, _PLAIN)), normalize_identifier)
    if name in NUMBERS:
        trimmed = _replace_where(trimmed, _matches(trimmed, _NUMBER), _number_text)
    is_missing = pc.is_in(trimmed, pa.array(MISSING, pa.string()))
    if not pc.any(is_missing).as_py():
        return values if name in VERBATIM else trimmed
    return pc.if_else(is_missing, None, values if name in VERBATIM else trimmed)


def normalize_rows(rows: pa.Table) -> pa.Table:
    """Normalize every column of a table of text."""
    columns = {
        name: normalize_column(name, column.combine_chunks())
        for name, column in zip(rows.column_names, rows.columns, strict=True)
    }
    return pa.table(columns)


def normalize_name(name: str) -> str | None:
    """Return the name of a class as it is read from a list, or None for a missing value."""
    value: str | None = normalize_column("class_name", pa.array([name], pa.string()))[0].as_py()
    return value


def match_names(values: pa.ChunkedArray, names: Sequence[str]) -> pa.ChunkedArray:
    """Replace values that differ from exactly one of `names` in case only by that name."""
    folded: dict[str, list[str]] = {}
    for name in names:
        folded.setdefault(name.casefold(), []).append(name)

    def matched(text: str) -> str:
        candidates = folded.get(text.casefold(), [])
        return candidates[0] if len(candidates) == 1 else text

    is_unknown = pc.invert(pc.is_in(values, pa.array(names, pa.string())))
    replaced = _replace_where(values.combine_chunks(), is_unknown.combine_chunks(), matched)
    return pa.chunked_array([replaced], pa.string())


def suggestion(name: str, names: Iterable[str]) -> str:
    """Return ' (did you mean "ship"?)' with the nearest of `names`, or an empty text."""
    near = get_close_matches(name, list(names), n=1)
    return f' (did you mean "{near[0]}"?)' if near else ""


def suggestions(unknown: Iterable[str], names: Sequence[str]) -> dict[str, str]:
    """Return `suggestion` for each of the names `unknown`; only the first MAX_SUGGESTIONS in sorted order are compared.

    A comparison with a thousand names takes some ten milliseconds, and swapped columns have as many wrong names as rows.
    """
    ordered = sorted(set(unknown))
    near = {name: suggestion(name[:MAX_COMPARED], names) for name in ordered[:MAX_SUGGESTIONS]}
    return dict.fromkeys(ordered, "") | near


def is_missing_value(values: pa.Array) -> pa.Array:
    """Return a mask of missing values."""
    return pc.or_(
        pc.is_null(values), pc.is_in(pc.utf8_trim_whitespace(values), pa.array(MISSING, pa.string()))
    )


def filled_rows(columns: Sequence[pa.Array], count: int) -> np.ndarray:
    """Return which of `count` rows have any value, bool (count,). The others are blank lines.

    Spreadsheets write lines of delimiters; Python's csv module writes a blank line after each row on Windows.
    """
    filled = np.zeros(count, bool)
    for column in columns:
        if filled.all():
            break
        filled |= pc.invert(is_missing_value(column)).to_numpy(zero_copy_only=False)
    return filled


def is_bad_identifier(values: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    """Return a mask of normalized identifiers that are too long or contain control or invisible characters; null if null."""
    is_long = pc.greater(pc.binary_length(values), MAX_ID_BYTES)
    is_plain = pc.all(_matches(values, _PLAIN)).as_py()
    return is_long if is_plain else pc.or_(is_long, _matches(values, FORBIDDEN))


def _number_text(text: str) -> str:
    if len(text) > MAX_NUMBER:  # neither an id nor a rank
        return text
    number = Decimal(text)
    if number == number.to_integral_value():
        return str(int(number))
    return repr(float(text)) if "e" in text.lower() else text


def _matches(values: pa.Array, pattern: str) -> pa.Array:
    return pc.match_substring_regex(values, pattern)


def _replace_where(values: pa.Array, where: pa.Array, change: Callable[[str], str]) -> pa.Array:
    """Replace the values at a mask; `change` is called once per distinct value."""
    where = pc.fill_null(where, False)
    if not pc.any(where).as_py():
        return values
    encoded = values.filter(where).dictionary_encode()
    changed = pa.array([change(text) for text in encoded.dictionary.to_pylist()], pa.string())
    return pc.replace_with_mask(values, where, changed.take(encoded.indices))
