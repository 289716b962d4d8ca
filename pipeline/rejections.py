"""Rejections: how a row that gives no result is told apart, and never lost."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa

from schemas.rejection import CODES, REJECTION

DETAIL_LENGTH = 200


@dataclass
class RequestStats:
    """What asking the web for a row has come to; the fields are columns of the rejection table."""

    host: str
    status: int | None = None
    bytes_seen: int = 0
    seconds: float = 0.0
    attempts: int = 1


class Rejected(Exception):
    """Raised while a row is worked on: the row ends here, with this code of the closed list."""

    def __init__(self, code: str, detail: str = "", asked: RequestStats | None = None) -> None:
        assert code in CODES, code
        super().__init__(code, detail)
        self.code = code
        self.detail = printable(detail)
        self.asked = asked


def printable(text: str) -> str:
    """Foreign text made fit for one line of a log or a table."""
    return "".join(c if c.isprintable() else "�" for c in text[:DETAIL_LENGTH])


def reject(
    rows: pa.Table,
    codes: np.ndarray,
    details: list[str],
    asked: Sequence[RequestStats | None] | None = None,
) -> pa.Table:
    """The rejection table of `rows` (n), which have `row`, `image_id` and `class_name`.

    `codes` (n,), `details` and `asked`, where URLs were asked for, have one for each row.
    """

    def shown(name: str) -> list[str | None]:
        return [None if value is None else printable(value) for value in rows[name].to_pylist()]

    columns = {
        "location": rows["location"],
        "image_id": shown("image_id"),
        "class_name": shown("class_name"),
        "code": list(codes),
        "detail": details,
    }
    for field in fields(RequestStats):
        columns[field.name] = [getattr(one, field.name, None) for one in asked or [None] * rows.num_rows]
    return pa.table(columns, schema=REJECTION.schema)


def malformed_rows(lines: Iterable[tuple[str, str]], code: str = "malformed_row") -> pa.Table:
    """The rejection table of lines that are no rows: the location of each, and why."""
    assert code in CODES, code
    return REJECTION.from_rows(
        {"location": row, "code": code, "detail": printable(text)} for row, text in lines
    )
