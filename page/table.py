"""HTML tables with typed columns, and counts that link to the items they count."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from page.text import visible_text


@dataclass(frozen=True)
class Listing:
    """A count, the first few counted items, and the SQL query that returns all of them.

    images: the image id of each of the first items, or () if the items are no images.
    """

    count: int
    head: tuple[str, ...]
    query: str
    images: tuple[str, ...] = ()


@dataclass(frozen=True)
class IntervalCell:
    """A value with its 95 % interval; None if there are no data."""

    value: float | None
    low: float | None = None
    high: float | None = None
    symmetric: bool = field(default=False, kw_only=True)  # displayed as value ± half of the interval


@dataclass(frozen=True)
class Column:
    """A column; `kind` determines how its cells are formatted, aligned and sorted.

    text: strings; count: integers and listings; share: shares, displayed in percent; number: any other number.
    """

    title: str
    kind: Literal["text", "count", "share", "number"] = "text"
    digits: int = 1  # decimals of shares and numbers


@dataclass(frozen=True)
class PageTable:
    """A table; `note` describes omitted rows. Readers can sort it unless it is `ordered`, and filter it if `filterable`."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    note: str = ""
    filterable: bool = False
    ordered: bool = False


def format_cell(value: Any, column: Column) -> str:
    """Return the text of a cell."""
    if isinstance(value, Listing):
        return f"{value.count:,}"
    if isinstance(value, IntervalCell):
        if value.value is None:
            return "–"
        if value.low is None or value.high is None:
            return format_cell(value.value, column)
        if value.symmetric:
            half = format_cell((value.high - value.low) / 2, column).removesuffix(" %")
            return f"{format_cell(value.value, column)} ± {half}"
        low, high = (format_cell(bound, column).removesuffix(" %") for bound in (value.low, value.high))
        return f"{format_cell(value.value, column)} [{low}, {high}]"
    if value is None:
        return "–"
    if column.kind == "share":
        return f"{100 * value:.{column.digits}f} %"
    if column.kind == "number":
        return f"{value:,.{column.digits}f}"
    return f"{value:,}" if isinstance(value, int) else visible_text(value)


def sort_key(value: Any) -> float | None:
    """Return the number by which a cell is sorted, or None for text."""
    if isinstance(value, Listing):
        return value.count
    if isinstance(value, IntervalCell):
        return value.value
    return value if isinstance(value, int | float) else None
