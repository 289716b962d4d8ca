"""A table: its columns, its key, and the check that input really has them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import pyarrow as pa

from common.errors import DataError


@dataclass(frozen=True)
class Table:
    """The columns of one kind of Parquet table.

    A column that is not nullable is required; `key` is what makes a row unique.
    """

    name: str
    schema: pa.Schema
    key: tuple[str, ...]

    @property
    def required(self) -> list[str]:
        """Names of the columns without which a table of this kind is refused."""
        return [field.name for field in self.schema if not field.nullable]

    def check_columns(self, columns: Sequence[str], where: str) -> None:
        """Raise DataError if a required column is missing; the message suggests the nearest name."""
        for name in self.required:
            if name in columns:
                continue
            near = get_close_matches(name, columns, n=1)
            hint = f" (did you mean {near[0]!r}? rename it)" if near else ""
            raise DataError(
                f"{where}: a {self.name} table needs the column {name!r}{hint}; it has {', '.join(columns) or 'none'}"
            )

    def from_rows(self, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
        """Build a table from dictionaries; absent nullable columns become null."""
        return pa.Table.from_pylist([dict(row) for row in rows], schema=self.schema)

    def conform(self, table: pa.Table, where: str) -> pa.Table:
        """Return `table` with exactly this schema: columns ordered and cast, absent nullable ones null.

        Raises DataError, naming the column, where a required one is missing or a cast loses something.
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
        return pa.table(columns, schema=self.schema)


def column(name: str, kind: pa.DataType, about: str, *, required: bool = True) -> pa.Field:
    """One column with its meaning, which travels in the file as field metadata."""
    return pa.field(name, kind, nullable=not required, metadata={"about": about})


# An image as Hugging Face datasets stores it, so that its viewers show pictures by themselves.
IMAGE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
