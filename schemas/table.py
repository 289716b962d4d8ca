"""The schema of a table: columns, key, and checks of input against them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import pyarrow as pa

from common.errors import DataError

UNREADABLE = (pa.ArrowException, OSError, UnicodeDecodeError)
"""Errors that pyarrow raises for a damaged Parquet file; UnicodeDecodeError if a column name is not UTF-8."""

COMPARED, SHOWN, LONGEST_SHOWN = 1000, 20, 80
"""Columns of a file that are compared with a missing one, and columns and characters of each that a message shows."""


def listed(columns: Sequence[str]) -> str:
    """Return the names of columns for a message: a line of JSON may have millions, and each may be long."""
    more = f" and {len(columns) - SHOWN:,} more" if len(columns) > SHOWN else ""
    return ", ".join(column[:LONGEST_SHOWN] for column in columns[:SHOWN]) + more or "none"


@dataclass(frozen=True)
class Table:
    """Name, columns and key of a table. Columns that are not nullable are required; `key` names the columns that identify a row."""

    name: str
    schema: pa.Schema
    key: tuple[str, ...]

    @property
    def required(self) -> list[str]:
        """Names of the required columns."""
        return [field.name for field in self.schema if not field.nullable]

    def check_columns(self, columns: Sequence[str], where: str) -> None:
        """Raise DataError if a required column is missing; suggest the nearest name."""
        for name in self.required:
            if name in columns:
                continue
            near = get_close_matches(name, [column[:LONGEST_SHOWN] for column in columns[:COMPARED]], n=1)
            hint = f" (did you mean {near[0]!r}? rename it)" if near else ""
            raise DataError(
                f"{where}: a {self.name} table needs the column {name!r}{hint}; it has {listed(columns)}"
            )

    def from_rows(self, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
        """Build a table from dictionaries; missing nullable columns become null."""
        return pa.Table.from_pylist([dict(row) for row in rows], schema=self.schema)

    def conform(self, table: pa.Table, where: str) -> pa.Table:
        """Return `table` with this schema: columns ordered and cast, missing nullable columns null.

        Raises DataError that names the column if a required one is missing or lacks values, or if a cast loses values.
        """
        self.check_columns(table.column_names, where)
        columns = []
        for field in self.schema:
            if field.name not in table.column_names:
                columns.append(pa.nulls(table.num_rows, field.type))
                continue
            try:
                columns.append(table[field.name].cast(field.type))
            except pa.ArrowInvalid as error:
                raise DataError(f"{where}: column {field.name!r} must be {field.type}: {error}") from error
            if not field.nullable and columns[-1].null_count:
                raise DataError(f"{where}: column {field.name!r} lacks values in some rows; fill them in")
        return pa.table(columns, schema=self.schema)


def column(name: str, data_type: pa.DataType, about: str, *, required: bool = True) -> pa.Field:
    """Return a column whose description is stored in the file as field metadata."""
    return pa.field(name, data_type, nullable=not required, metadata={"about": about})


# The struct in which Hugging Face datasets stores an encoded image.
IMAGE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
