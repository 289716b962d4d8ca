"""The results of a Mechanical Turk batch, as its requester site downloads them.

Format: https://docs.aws.amazon.com/AWSMechTurk/latest/RequesterUI/, "Downloading results".
"""

import csv
import io
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

from common.errors import DataError
from pipeline import files
from pipeline.aggregate.readers.row import VoteRow
from pipeline.delimited import delimiter_of, split_header
from schemas.cells import unescape_cell
from schemas.vote import ANSWERS

HOURS = {"PST": -8, "PDT": -7, "UTC": 0, "GMT": 0}  # the requester site writes the time of Seattle
MARKS = ("HITId", "WorkerId")  # columns that no other vote file has
PLAIN = ("Answer.answer", "Answer.category.label", "Answer.answer.label")


def is_mechanical_turk(line: str) -> bool:
    """Whether a CSV file with this first line is such a download."""
    return set(MARKS) <= set(split_header(line, delimiter_of(line, MARKS)))


def read_mechanical_turk(path: str) -> Iterator[VoteRow]:
    """One row for each assignment; the batch had image_id and class_name among its inputs.

    The answer is a field Answer.answer or Answer.category.label, or one of Answer.answer.yes, …no, …unsure is true
    (crowd-radio-group). Assignments that the requester has rejected are no votes. Raises DataError if a column is
    missing, or where the file is no CSV.
    """
    text = files.read_text(path)
    delimiter = delimiter_of(text.split("\n", 1)[0], MARKS)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        yield from _assignments(path, reader)
    except csv.Error as error:
        hint = "look there for a quote that is never closed"
        raise DataError(f"{path}, line {reader.line_num + 1}: {error}; {hint}") from error


def _assignments(path: str, reader: "csv.DictReader[str]") -> Iterator[VoteRow]:
    header = reader.fieldnames or []
    named = next((name for name in PLAIN if name in header), None)
    ticks = {f"Answer.answer.{answer}": answer for answer in ANSWERS}
    for name in ("Input.image_id", "Input.class_name"):
        if name not in header:
            raise DataError(
                f"{path}: no column {name!r}; the batch must be made from an exported question list"
            )
    if named is None and not set(ticks) & set(header):
        raise DataError(f"{path}: no column 'Answer.answer'; name the form element of the answer `answer`")
    for row in reader:
        if not any(value and value.strip() for value in row.values() if isinstance(value, str)):
            continue  # blank
        if None in row or None in row.values():
            yield VoteRow(problem=f"line {reader.line_num}: too few or too many fields")
            continue
        if row.get("AssignmentStatus") == "Rejected":
            problem = f"line {reader.line_num}: the requester has rejected this assignment"
            yield VoteRow(problem=problem, skipped=True)
            continue
        ticked = [answer for name, answer in ticks.items() if row.get(name, "").lower() == "true"]
        yield VoteRow(
            unescape_cell(row["Input.image_id"]),
            unescape_cell(row["Input.class_name"]),
            row["WorkerId"],
            row[named] if named else (ticked[0] if len(ticked) == 1 else None),
            row.get("WorkTimeInSeconds"),
            _time(row.get("SubmitTime", "")),
        )


def _time(written: str) -> str | None:
    """`Sat Nov 21 10:00:00 PST 2026` as ISO 8601; None if it is written in another way."""
    match = re.fullmatch(r"\w{3} (\w{3} +\d{1,2} [\d:]{8}) ([A-Z]{3}) (\d{4})", written.strip())
    if not match or match[2] not in HOURS:
        return None
    try:
        local = datetime.strptime(f"{match[3]} {match[1]}", "%Y %b %d %H:%M:%S")
    except ValueError:
        return None
    return local.replace(tzinfo=timezone(timedelta(hours=HOURS[match[2]]))).isoformat()
