"""Read gold questions, whose answers are known."""

from collections.abc import Mapping, Sequence

import pyarrow as pa
from pyarrow import compute as pc

from common.errors import DataError
from pipeline.aggregate.vote_columns import QUESTION
from pipeline.aggregate.vote_validation import read_answers
from pipeline.records import read_records
from pipeline.values import match_names, suggestion
from schemas.gold import GOLD


def read_gold(path: str, words: Mapping[str, str] | None = None, classes: Sequence[str] = ()) -> pa.Table:
    """Read the gold questions of a CSV, JSON lines or Parquet file.

    `words` maps other words to yes and no; names of `classes` match in any case. Raises DataError naming the row if a value
    is missing, a class is not one of `classes` (unless they are empty), an answer is neither yes nor no, or a question has
    two answers: gold questions are never skipped.
    """
    tables = []
    for records in read_records(path, GOLD, path):
        if records.malformed:
            raise DataError("{}: {}; fix this line".format(*records.malformed[0]))
        tables.append(records.rows)
    rows = pa.concat_tables(tables)
    answers = read_answers(rows["answer"], words)
    class_names = match_names(rows["class_name"], classes)
    names = zip(rows["image_id"].to_pylist(), class_names.to_pylist(), strict=True)
    gold: dict[tuple[str, str], str] = {}
    for (image_id, class_name), answer, row in zip(
        names, answers.to_pylist(), rows["location"].to_pylist(), strict=True
    ):
        if image_id is None or class_name is None or answer not in ("yes", "no"):
            raise DataError(
                f"{row}: a gold question needs an image_id, a class_name and the answer yes or no; fix this line"
            )
        if classes and class_name not in classes:
            raise DataError(
                f"{row}: unknown class {class_name!r}{suggestion(class_name, classes)}; fix this line"
            )
        earlier = gold.setdefault((image_id, class_name), answer)
        if earlier != answer:
            raise DataError(
                f"{row}: the answer is {answer}, but an earlier row has {earlier} for this question; remove one of them"
            )
    columns = zip(*((*question, answer) for question, answer in gold.items()), strict=True)
    return pa.table([pa.array(column, pa.string()) for column in columns], schema=GOLD.schema)


def count_gold_questions(gold: pa.Table, web: pa.Table, clean: pa.Table) -> int:
    """Return how many gold questions are among the questions `web`, or are about an image of `clean`."""
    asked = web.select(QUESTION).group_by(QUESTION).aggregate([])
    is_clean = pc.is_in(gold["image_id"], clean["image_id"])
    among = gold.filter(pc.invert(is_clean)).join(asked, QUESTION, join_type="left semi")
    return int(pc.sum(is_clean).as_py() or 0) + among.num_rows
