"""Reads the questions whose answer is known."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from common.errors import DataError
from pipeline.aggregate.votes import read_answers
from pipeline.records import read_records
from pipeline.values import match_names
from schemas.gold import GOLD


def read_gold(path: str, words: Mapping[str, str] | None = None, classes: Sequence[str] = ()) -> pa.Table:
    """The gold questions of a CSV, JSON lines or Parquet file.

    `words` gives the answers that other words stand for; names of `classes` are read without regard to case.

    Raises DataError, naming the row, where a value is missing, an answer is neither yes nor no, or a question has
    two answers: what the votes are measured by must be right.
    """
    tables = []
    for records in read_records(path, GOLD):
        if records.malformed:
            raise DataError("{}: {}; mend this line".format(*records.malformed[0]))
        tables.append(records.rows)
    if not tables:
        raise DataError(
            f"{path}: there is no gold question in this file; list some, or leave aggregate.gold out"
        )
    rows = pa.concat_tables(tables)
    answers = read_answers(rows["answer"], words)
    class_names = match_names(rows["class_name"], classes)
    names = zip(rows["image_id"].to_pylist(), class_names.to_pylist(), strict=True)
    known: dict[tuple[str, str], str] = {}
    for (image_id, class_name), answer, row in zip(
        names, answers.to_pylist(), rows["location"].to_pylist(), strict=True
    ):
        if image_id is None or class_name is None or answer not in ("yes", "no"):
            raise DataError(f"{row}: a gold question has an image_id, a class_name and the answer yes or no")
        if known.setdefault((image_id, class_name), answer) != answer:
            raise DataError(f"{row}: an earlier row answers this question with {known[image_id, class_name]}")
    columns = zip(*((*question, answer) for question, answer in known.items()), strict=True)
    return pa.table([pa.array(column, pa.string()) for column in columns], schema=GOLD.schema)
