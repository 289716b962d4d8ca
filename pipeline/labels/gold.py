"""Reads the questions whose answer is known."""

import pyarrow as pa
from pyarrow import compute as pc

from pipeline.records import read_records
from schemas.errors import DataError
from schemas.gold import GOLD


def read_gold(path: str) -> pa.Table:
    """The gold questions of a CSV, JSON lines or Parquet file.

    Raises DataError, naming the row, where a value is missing, an answer is neither yes nor no, or a question has
    two answers: what the votes are measured by must be right.
    """
    tables = []
    for records in read_records(path, GOLD):
        if records.malformed:
            raise DataError("{}: {}; mend this line".format(*records.malformed[0]))
        tables.append(records.rows)
    if not tables:
        raise DataError(f"{path}: there is no gold question in this file; list some, or leave label.gold out")
    rows = pa.concat_tables(tables)
    answers = pc.utf8_lower(pc.utf8_trim_whitespace(rows["answer"]))
    names = zip(rows["image_id"].to_pylist(), rows["class_name"].to_pylist(), strict=True)
    known: dict[tuple[str, str], str] = {}
    for (image_id, class_name), answer, row in zip(
        names, answers.to_pylist(), rows["row"].to_pylist(), strict=True
    ):
        if image_id is None or class_name is None or answer not in ("yes", "no"):
            raise DataError(f"{row}: a gold question has an image_id, a class_name and the answer yes or no")
        if known.setdefault((image_id, class_name), answer) != answer:
            raise DataError(f"{row}: an earlier row answers this question with {known[image_id, class_name]}")
    columns = zip(*((*question, answer) for question, answer in known.items()), strict=True)
    return pa.table([pa.array(column, pa.string()) for column in columns], schema=GOLD.schema)
