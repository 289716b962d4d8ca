"""Read the results of a Mechanical Turk batch, as downloaded from the requester site.

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

HOURS = {"PST": -8, "PDT": -7, "UTC": 0, "GMT": 0}  # the requester site writes Pacific time
SIGNATURE = ("HITId", "WorkerId")  # columns that no other vote file has
PLAIN = ("Answer.answer", "Answer.category.label", "Answer.answer.label")


def is_mechanical_turk(line: str) -> bool:
    """Return whether a CSV file with this first line is such a download."""
    return set(SIGNATURE) <= set(split_header(line, delimiter_of(line, SIGNATURE)))


def read_mechanical_turk(path: str) -> Iterator[VoteRow]:
    """Yield one row per assignment; the batch must have the input columns image_id and class_name.

    The answer is the field Answer.answer, Answer.category.label or Answer.answer.label, or one of the fields
    Answer.answer.yes, .no and .unsure is true (crowd-radio-group). Answer.seen_class is the class that a worker saw instead.
    Assignments that the requester rejected are skipped. Raises DataError if a column is missing or the file is not CSV.
    """
    text = files.read_text(path)
    delimiter = delimiter_of(text.split("\n", 1)[0], SIGNATURE)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        yield from _assignments(path, reader)
    except csv.Error as error:
        hint = "look for an unclosed quotation mark in this line"
        raise DataError(f"{path}, line {reader.line_num + 1}: {error}; {hint}") from error


def _assignments(path: str, reader: "csv.DictReader[str]") -> Iterator[VoteRow]:
    header = reader.fieldnames = [name.strip() for name in reader.fieldnames or []]
    named = next((name for name in PLAIN if name in header), None)
    ticks = {f"Answer.answer.{answer}": answer for answer in ANSWERS}
    for name in (*SIGNATURE, "Input.image_id", "Input.class_name"):
        if name not in header:
            raise DataError(
                f"{path}: column {name!r} is missing; make the batch from an exported question list"
            )
    if named is None and not set(ticks) & set(header):
        raise DataError(
            f"{path}: column 'Answer.answer' is missing; name the form element with the answer `answer`"
        )
    for row in reader:
        if not any(value and value.strip() for value in row.values() if isinstance(value, str)):
            continue  # blank
        if None in row or None in row.values():
            yield VoteRow(problem=f"line {reader.line_num}: too few or too many fields")
            continue
        if row.get("AssignmentStatus") == "Rejected":
            problem = f"line {reader.line_num}: the requester rejected this assignment"
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
            unescape_cell(row.get("Answer.seen_class") or ""),
        )


def _time(written: str) -> str | None:
    """Convert `Sat Nov 21 10:00:00 PST 2026` to ISO 8601; return None for any other form."""
    match = re.fullmatch(r"\w{3} (\w{3} +\d{1,2} [\d:]{8}) ([A-Z]{3}) (\d{4})", written.strip())
    if not match or match[2] not in HOURS:
        return None
    try:
        local = datetime.strptime(f"{match[3]} {match[1]}", "%Y %b %d %H:%M:%S")
    except ValueError:
        return None
    return local.replace(tzinfo=timezone(timedelta(hours=HOURS[match[2]]))).isoformat()
