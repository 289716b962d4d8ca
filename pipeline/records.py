"""Reads the tables that users bring: CSV, JSON lines or Parquet, as batches of strings with the place of each row.

Values are checked later, row by row, so that a bad one becomes a rejection; only what makes the whole
file unreadable (a missing column, another encoding) is an error here.
"""

import csv as text_csv
from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa
from pyarrow import csv, json, parquet

from pipeline import files
from schemas.errors import DataError
from schemas.table import Table

BLOCK_BYTES = 8 << 20


@dataclass(frozen=True)
class Records:
    """A batch of rows as they stand in the file.

    `rows` has every column of the table and `row`, all strings; an empty field is null. `malformed` holds
    (row, text) of lines with too few or too many fields.
    """

    rows: pa.Table
    malformed: list[tuple[str, str]] = field(default_factory=list)


def read_records(path: str, table: Table) -> Iterator[Records]:
    """Read a file, by its ending .csv, .jsonl or .parquet, as batches.

    Raises DataError that names the file where it is missing, lacks a column of `table`, or is not text.
    """
    kinds = {"csv": _read_csv, "jsonl": _read_jsonl, "parquet": _read_parquet}
    ending = path.rsplit(".", 1)[-1].lower()
    if ending not in kinds:
        raise DataError(f"{path}: lists are read from .csv, .jsonl or .parquet files")
    name = path.replace("\\", "/").rsplit("/", 1)[-1]
    first = 0
    try:
        for batch, lines, malformed in kinds[ending](path, table):
            numbers = lines if lines is not None else range(first + 1, first + batch.num_rows + 1)
            first += batch.num_rows
            bad = [(f"{name}:{line}", text) for line, text in malformed]
            yield Records(_as_strings(batch, table, [f"{name}:{n}" for n in numbers]), bad)
    except pa.ArrowInvalid as error:
        raise DataError(
            f"{path}: cannot be read ({error}); save it as UTF-8 text with one header line"
        ) from error


def _as_strings(batch: pa.RecordBatch, table: Table, places: list[str]) -> pa.Table:
    columns: dict[str, pa.Array] = {}
    for field_ in table.schema:
        if field_.name in batch.schema.names:
            values = batch.column(field_.name).cast(pa.string())
            columns[field_.name] = pa.compute.if_else(pa.compute.equal(values, ""), None, values)
        else:
            columns[field_.name] = pa.nulls(batch.num_rows, pa.string())
    columns["row"] = pa.array(places, pa.string())
    return pa.table(columns)


def _read_csv(path: str, table: Table) -> Iterator[tuple[pa.RecordBatch, list[int], list[tuple[int, str]]]]:
    malformed: list[tuple[int, str]] = []

    def keep_malformed(row: csv.InvalidRow) -> str:
        malformed.append((row.number, f"{row.actual_columns} fields instead of {row.expected_columns}"))
        return "skip"

    with files.open_read(path) as file:
        header = file.readline().decode("utf-8-sig", "replace").rstrip("\r\n")
        if not header:
            raise DataError(f"{path}: the file is empty; it needs a header line and rows")
        names = [name.strip() for name in next(text_csv.reader([header]))]
        table.check_columns(names, path)
        if not file.read(1):
            raise DataError(f"{path}: the file has a header line but no rows")
        file.seek(0)
        file.readline()
        reader = csv.open_csv(
            file,
            read_options=csv.ReadOptions(column_names=names, use_threads=False, block_size=BLOCK_BYTES),
            parse_options=csv.ParseOptions(ignore_empty_lines=False, invalid_row_handler=keep_malformed),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
            ),
        )
        line, reported = 2, 0  # the header is line 1
        for batch in reader:
            gaps = {number + 1 for number, _ in malformed}  # `number` counts rows of data from 1
            lines: list[int] = []
            while len(lines) < batch.num_rows:
                if line not in gaps:
                    lines.append(line)
                line += 1
            yield batch, lines, [(number + 1, text) for number, text in malformed[reported:]]
            reported = len(malformed)


def _read_jsonl(path: str, table: Table) -> Iterator[tuple[pa.RecordBatch, None, list[tuple[int, str]]]]:
    with files.open_read(path) as file:
        rows = json.read_json(file)
        table.check_columns(rows.column_names, path)
        for batch in rows.to_batches():
            yield batch, None, []


def _read_parquet(path: str, table: Table) -> Iterator[tuple[pa.RecordBatch, None, list[tuple[int, str]]]]:
    with files.open_read(path) as file:
        rows = parquet.ParquetFile(file)
        table.check_columns(rows.schema_arrow.names, path)
        for batch in rows.iter_batches(batch_size=65536):
            yield batch, None, []
