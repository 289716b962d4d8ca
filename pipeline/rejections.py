"""Rejections: rows without a result, each with a code, so that no row is lost."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa

from schemas.rejection import CODES, REJECTION

DETAIL_LENGTH = 200


@dataclass
class RequestStats:
    """Metrics of the requests for one URL; the fields are columns of the tables `fetched` and `rejection`."""

    host: str
    status: int | None = None
    bytes_seen: int = 0
    seconds: float = 0.0
    attempts: int = 1


class Rejected(Exception):
    """Raised where a row is rejected, with a code of schemas.rejection.CODES and metrics of its requests."""

    def __init__(self, code: str, detail: str = "", stats: RequestStats | None = None) -> None:
        assert code in CODES, code
        super().__init__(code, detail)
        self.code = code
        self.detail = printable(detail)
        self.stats = stats


def printable(text: str) -> str:
    """Shorten text to one printable line of DETAIL_LENGTH characters."""
    return "".join(c if c.isprintable() else "�" for c in text[:DETAIL_LENGTH])


def reject(
    rows: pa.Table,
    codes: np.ndarray,
    details: list[str],
    stats: Sequence[RequestStats | None] | None = None,
) -> pa.Table:
    """Return the rejection table of `rows` (n), which have the columns `location`, `image_id` and `class_name`.

    codes (n,), details, stats: one for each row; stats are None for rows without a URL.
    """

    def printable_column(name: str) -> list[str | None]:
        return [None if value is None else printable(value) for value in rows[name].to_pylist()]

    columns = {
        "location": rows["location"],
        "image_id": printable_column("image_id"),
        "class_name": printable_column("class_name"),
        "code": list(codes),
        "detail": details,
    }
    for field in fields(RequestStats):
        columns[field.name] = [getattr(item, field.name, None) for item in stats or [None] * rows.num_rows]
    return pa.table(columns, schema=REJECTION.schema)


def malformed_rows(lines: Iterable[tuple[str, str]], code: str = "malformed_row") -> pa.Table:
    """Return the rejection table of malformed lines, given their locations and problems."""
    assert code in CODES, code
    return REJECTION.from_rows(
        {"location": location, "code": code, "detail": printable(problem)} for location, problem in lines
    )
