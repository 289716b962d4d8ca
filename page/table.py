"""Tables as the pages have them: typed columns, and numbers that lead to what they count."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from page.text import visible_text


@dataclass(frozen=True)
class Listing:
    """A number, the first few of what it counts, and the query that gives all of them."""

    count: int
    head: tuple[str, ...]
    query: str


@dataclass(frozen=True)
class IntervalCell:
    """A value with its 95 % interval; none of them is known of nothing."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Column:
    """A column: what its cells are decides how they are format_cell, aligned and sorted.

    text: strings; count: whole numbers and listings; share: in percent; number: any other.
    """

    title: str
    kind: Literal["text", "count", "share", "number"] = "text"
    digits: int = 1  # after the point, of shares and numbers


@dataclass(frozen=True)
class PageTable:
    """A table; `note` says what is not in it. It can be sorted, unless its order is what it tells, and filtered."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    note: str = ""
    filterable: bool = False
    ordered: bool = False


def format_cell(value: Any, column: Column) -> str:
    """The text of a cell."""
    if isinstance(value, Listing):
        return f"{value.count:,}"
    if isinstance(value, IntervalCell):
        if value.value is None:
            return "–"
        if value.low is None or value.high is None:
            return format_cell(value.value, column)
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
    """What a cell is sorted by, where that is a number."""
    if isinstance(value, Listing):
        return value.count
    if isinstance(value, IntervalCell):
        return value.value
    return value if isinstance(value, int | float) else None
