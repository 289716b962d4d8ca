"""The rules for votes, over whole columns."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import compute as pc

from pipeline.aggregate.columns import QUESTION, VoteColumns, codes_of, encode_votes
from pipeline.records import file_and_line
from pipeline.rejections import printable, reject
from pipeline.values import identifier_fault, is_bad_identifier, match_names, normalize_column, suggestion
from schemas.vote import ANSWERS, VOTE

MAX_TIME = 253402300800.0  # seconds since 1970: the year 10000
MAX_SECONDS = 1e9  # what is longer, or less than nothing, is no time of an answer

_FILE_NAME = re.compile(r"[/\\]|\.(jpe?g|png|webp|gif|bmp|avif|tiff?|heic)$", re.IGNORECASE)

_LIKELY_NO = ("0", "n", "f", "false", "incorrect", "wrong", "bad", "nein", "non")  # for a suggestion only

# Which of several votes of one worker on one question counts.
DUPLICATES = {
    "first": "the first vote counts",
    "last": "the last vote counts",
    "reject": "the worker answered more than once, so none of these votes counts",
}

# The column `row` travels with the votes until they are settled.
VOTE_ROWS = VOTE.schema.append(pa.field("location", pa.string()))


def check_votes(
    rows: pa.Table,
    words: Mapping[str, str] | None = None,
    choices: Sequence[str] = (),
    classes: Sequence[str] = (),
) -> tuple[pa.Table, pa.Table]:
    """Check each vote by itself; `rows` are strings as `read_records` gives them.

    Returns (votes with their `row`, rejections). Answers and names of `classes` are read without regard to case and
    white space; `words` gives the answer that another word stands for. A vote without class_name may name one of the
    classes `choices` as its answer, or be unsure; `expand_choices` takes it from there. Unreadable `seconds` or
    `time` are no reason to lose a vote: they become null. `time` is ISO 8601, of UTC unless it says otherwise, or
    seconds, milliseconds, microseconds or nanoseconds since 1970.
    """
    names = match_names(rows["class_name"], classes)
    rows = rows.set_column(rows.column_names.index("class_name"), "class_name", names)
    as_written = match_names(pc.utf8_trim_whitespace(rows["answer"]), choices)
    answers = read_answers(rows["answer"], words)
    unnamed = pc.is_null(rows["class_name"])
    chosen = pc.and_(unnamed, pc.is_in(as_written, pa.array(choices, pa.string())))
    answers = pc.if_else(chosen, as_written, answers)
    if choices:  # is_in is false of an answer that is absent, where equal would be null
        chosen = pc.or_(chosen, pc.and_(unnamed, pc.is_in(answers, pa.array(["unsure"]))))
    usual = pc.is_in(answers, pa.array(ANSWERS))
    unasked = pc.and_not(unnamed, chosen)
    if choices:  # what is neither a usual answer nor a class is a misspelled class
        unasked = pc.and_(unasked, usual)
    missing = pc.or_(pc.is_null(rows["image_id"]), unasked)
    missing = pc.or_(missing, pc.or_(pc.is_null(rows["worker_id"]), pc.is_null(answers)))
    unknown = pc.invert(pc.or_(chosen, usual))
    faults = {"missing_value": missing, "bad_id": _bad_identifier(rows), "unknown_answer": unknown}
    masks = [pc.fill_null(mask, False).to_numpy().astype(bool) for mask in faults.values()]
    codes = np.select(masks, list(faults), "")
    seconds = _numbers(rows["seconds"])
    seconds = np.where((seconds >= 0) & (seconds < MAX_SECONDS), seconds, np.nan)
    good = pa.table(
        [
            *(rows[name] for name in ("image_id", "class_name", "worker_id")),
            answers,
            pa.array(seconds.astype(np.float32), pa.float32(), from_pandas=True),
            _times(rows["time"]),
            rows["location"],
        ],
        schema=VOTE_ROWS,
    ).filter(pa.array(codes == ""))
    bad = rows.filter(pa.array(codes != ""))
    codes = codes[codes != ""]
    details = [_detail(code, row, choices) for code, row in zip(codes, bad.to_pylist(), strict=True)]
    return good, reject(bad, codes, details)


def read_answers(answers: pa.ChunkedArray, words: Mapping[str, str] | None) -> pa.ChunkedArray:
    """Return answers in lower case, with the `words` replaced by what they stand for."""
    answers = pc.utf8_lower(pc.utf8_trim_whitespace(answers))
    stand_for = {}
    if words:
        keys = normalize_column("answer", pa.array(words, pa.string())).to_pylist()
        stand_for = {(key or "").lower(): answer for key, answer in zip(keys, words.values(), strict=True)}
    for word, answer in stand_for.items():
        answers = pc.if_else(pc.equal(answers, word), answer, answers)
    return answers


def _bad_identifier(rows: pa.Table) -> pa.ChunkedArray:
    image, name, worker = (
        pc.fill_null(is_bad_identifier(rows[column]), False)
        for column in ("image_id", "class_name", "worker_id")
    )
    return pc.or_(image, pc.or_(name, worker))


def _detail(code: str, row: dict[str, str | None], choices: Sequence[str]) -> str:
    """What is wrong with a rejected vote, and what to do."""
    names = ("image_id", "class_name", "worker_id", "answer")
    if code == "missing_value":
        missing = ", ".join(name for name in names if row[name] is None)
        told = f"no {missing}; a vote needs all but seconds and time"
        if row["image_id"] is None:
            told += " (tasks that `label --next-questions N --format TOOL` makes carry the question)"
        return told
    if code == "bad_id":
        name = next(name for name in names if identifier_fault(row[name] or ""))
        return f"{name} {printable(row[name] or '')[:80]!r}: {identifier_fault(row[name] or '')}; change it in the votes"
    answer = printable(row["answer"] or "")[:80]
    meaning = "no" if answer.lower() in _LIKELY_NO else "yes"
    told = f"answer {answer!r}; use yes, no or unsure, or say what it stands for: aggregate.answers: {{{answer!r}: {meaning!r}}}"
    if row["class_name"] is None and choices:
        told = (
            f"answer {answer!r}{suggestion(answer, choices)} is neither a class nor unsure; "
            + told.split("; ")[1]
        )
    return told


def settle_votes(
    votes: pa.Table, questions: pa.Table, duplicates: str = "first", without_image: pa.Table | None = None
) -> tuple[VoteColumns, pa.Table]:
    """Keep the votes that count; all votes of an image must be in `votes`, in any order.

    `questions` are the retrieval rows of web images. Rejected are votes about anything else, and all votes of a
    worker on one question but the `first` or the `last`, or each of them (`reject`). First and last are by time,
    votes without one behind the others, and then by file and line. `without_image` are rows of the lists that ingest has
    rejected: votes about them have a code of their own. Returns (votes kept, rejections).
    """
    unknown = ~_asked(votes, questions)
    repeated = ~unknown & _repeated(votes, duplicates)
    codes = np.where(unknown, "unknown_image", np.where(repeated, "duplicate_vote", ""))
    if without_image is not None and unknown.any():
        codes = np.where(unknown & _asked(votes, without_image), "image_rejected", codes)
    bad = votes.filter(pa.array(codes != ""))
    classes = pc.unique(questions["class_name"]).to_pylist()
    details = {
        "duplicate_vote": DUPLICATES[duplicates],
        "image_rejected": "ingest has rejected this image; its rejections say why",
    }
    detail = [
        details.get(code) or _not_asked(image, name, classes)
        for code, image, name in zip(
            codes[codes != ""], bad["image_id"].to_pylist(), bad["class_name"].to_pylist(), strict=True
        )
    ]
    return encode_votes(votes.filter(pa.array(codes == ""))), reject(bad, codes[codes != ""], detail)


def _not_asked(image_id: str, class_name: str | None, classes: Sequence[str]) -> str:
    """Why a vote belongs to no question, and what to do."""
    if "://" in image_id:
        return (
            "image_id holds a URL; give the image_id of the web list (where the list has none, it is the first 16 digits "
            "of the SHA-256 of the URL)"
        )
    if class_name is not None and class_name not in classes:
        near = suggestion(class_name, classes)
        return (
            f"no such question: class {printable(class_name)[:80]!r}{near} is in no web list for this image"
        )
    if _FILE_NAME.search(image_id):
        return (
            "no such question; image_id looks like a path: give the image_id of the web list instead (list-folder calls "
            "photos/ant/1.jpg photos-ant-1)"
        )
    return "no such question among the web images that were kept; check image_id and class_name against the web lists"


def _asked(votes: pa.Table, questions: pa.Table) -> np.ndarray:
    """Which votes are about one of the questions, bool (V,)."""
    known = [pc.unique(questions[name]) for name in QUESTION]

    def keys(table: pa.Table) -> np.ndarray:
        image, name = (
            pc.fill_null(pc.index_in(table[column], values), -1).to_numpy().astype(np.int64)
            for column, values in zip(QUESTION, known, strict=True)
        )
        return np.where((image < 0) | (name < 0), -1, image * len(known[1]) + name)

    return np.isin(keys(votes), keys(questions))


def _repeated(votes: pa.Table, duplicates: str) -> np.ndarray:
    """Which votes another one of the same worker on the same question takes the place of, bool (V,)."""
    keys = np.zeros(votes.num_rows, np.int64)
    for name in (*QUESTION, "worker_id"):
        codes, values = codes_of(votes[name])
        keys = keys * len(values) + codes
    order = np.argsort(keys)
    same = np.diff(keys[order]) == 0
    several = np.zeros(len(keys), bool)
    several[order[1:][same]] = several[order[:-1][same]] = True
    if duplicates == "reject" or not several.any():
        return several
    rows = np.flatnonzero(several)
    some = votes.take(pa.array(rows))
    file, line = file_and_line(some["location"])
    frame = pd.DataFrame(
        {"key": keys[rows], "time": some["time"].cast(pa.int64()).to_pandas(), "file": file, "line": line}
    )
    frame = frame.sort_values(["time", "file", "line"], kind="stable", na_position="last")
    keep: Literal["first", "last"] = "last" if duplicates == "last" else "first"
    later = frame.duplicated("key", keep=keep).sort_index().to_numpy()
    several[rows] = later
    return several


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    if column.null_count == len(column):
        return np.full(len(column), np.nan)
    numbers: np.ndarray = pd.to_numeric(column.to_pandas(), errors="coerce").to_numpy(
        np.float64, na_value=np.nan
    )
    return numbers


def _times(column: pa.ChunkedArray) -> pa.Array:
    kind = VOTE.schema.field("time").type
    if column.null_count == len(column):
        return pa.nulls(len(column), kind)
    seconds = _numbers(column)
    for _ in range(3):  # pandas counts milliseconds in JSON, and up to nanoseconds as integers
        seconds = np.where((seconds >= MAX_TIME) & (seconds < MAX_TIME * 1e9), seconds / 1000, seconds)
    known = (seconds >= 0) & (seconds < MAX_TIME)
    written = column.to_pandas().where(np.isnan(seconds))
    times = pd.to_datetime(written, errors="coerce", format="ISO8601", utc=True).dt.tz_convert(None)
    given = (np.where(known, seconds, 0) * 1000).astype("datetime64[ms]")
    return pa.array(np.where(known, given, times.to_numpy("datetime64[ms]")), kind)
