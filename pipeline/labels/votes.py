"""The rules for votes, over whole columns."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import compute as pc

from pipeline.labels.columns import QUESTION, VoteColumns, codes_of, encode_votes
from pipeline.records import file_and_line
from pipeline.rejections import reject
from schemas.vote import ANSWERS, VOTE

MAX_TIME = 253402300800.0  # seconds since 1970: the year 10000
MAX_SECONDS = 1e9  # what is longer, or less than nothing, is no time of an answer

# Which of several votes of one worker on one question counts.
DUPLICATES = {
    "first": "the first vote counts",
    "last": "the last vote counts",
    "reject": "the worker answered more than once, so none of these votes counts",
}

# The column `row` travels with the votes until they are settled.
VOTE_ROWS = VOTE.schema.append(pa.field("row", pa.string()))


def check_votes(
    rows: pa.Table, words: Mapping[str, str] | None = None, choices: Sequence[str] = ()
) -> tuple[pa.Table, pa.Table]:
    """Check each vote by itself; `rows` are strings as `read_records` gives them.

    Returns (votes with their `row`, rejections). Answers are read without regard to case and white space;
    `words` gives the answer that another word stands for. A vote without class_name may name one of the classes
    `choices` as its answer, or be unsure; `expand_choices` takes it from there. Unreadable `seconds` or
    `time` are no reason to lose a vote: they become null. `time` is ISO 8601, of UTC unless it says otherwise, or
    seconds since 1970.
    """
    as_written = pc.utf8_trim_whitespace(rows["answer"])
    answers = pc.utf8_lower(as_written)
    for word, answer in (words or {}).items():
        answers = pc.if_else(pc.equal(answers, word.strip().lower()), answer, answers)
    unnamed = pc.is_null(rows["class_name"])
    chosen = pc.and_(unnamed, pc.is_in(as_written, pa.array(choices, pa.string())))
    answers = pc.if_else(chosen, as_written, answers)
    if choices:  # is_in is false of an answer that is absent, where equal would be null
        chosen = pc.or_(chosen, pc.and_(unnamed, pc.is_in(answers, pa.array(["unsure"]))))
    missing = pc.or_(pc.is_null(rows["image_id"]), pc.and_not(unnamed, chosen))
    missing = pc.or_(missing, pc.or_(pc.is_null(rows["worker_id"]), pc.is_null(answers)))
    unknown = pc.invert(pc.or_(chosen, pc.is_in(answers, pa.array(ANSWERS))))
    codes = np.where(missing, "missing_value", np.where(unknown, "unknown_answer", ""))
    seconds = _numbers(rows["seconds"])
    seconds = np.where((seconds >= 0) & (seconds < MAX_SECONDS), seconds, np.nan)
    good = pa.table(
        [
            *(rows[name] for name in ("image_id", "class_name", "worker_id")),
            answers,
            pa.array(seconds.astype(np.float32), pa.float32(), from_pandas=True),
            _times(rows["time"]),
            rows["row"],
        ],
        schema=VOTE_ROWS,
    ).filter(pa.array(codes == ""))
    bad = rows.filter(pa.array(codes != ""))
    codes = codes[codes != ""]
    details = [
        f"answer {answer!r}; use yes, no or unsure"
        if code == "unknown_answer"
        else "all but seconds and time is needed"
        for code, answer in zip(codes, bad["answer"].to_pylist(), strict=True)
    ]
    return good, reject(bad, codes, details)


def settle_votes(
    votes: pa.Table, questions: pa.Table, duplicates: str = "first"
) -> tuple[VoteColumns, pa.Table]:
    """Keep the votes that count; all votes of an image must be in `votes`, in any order.

    `questions` are the retrieval rows of web images. Rejected are votes about anything else, and all votes of a
    worker on one question but the `first` or the `last`, or each of them (`reject`). First and last are by time,
    votes without one behind the others, and then by file and line. Returns (votes kept, rejections).
    """
    unknown = ~_asked(votes, questions)
    repeated = ~unknown & _repeated(votes, duplicates)
    codes = np.where(unknown, "unknown_image", np.where(repeated, "duplicate_vote", ""))
    bad = votes.filter(pa.array(codes != ""))
    detail = [
        "no such question among the web images that were kept"
        if code == "unknown_image"
        else DUPLICATES[duplicates]
        for code in codes[codes != ""]
    ]
    return encode_votes(votes.filter(pa.array(codes == ""))), reject(bad, codes[codes != ""], detail)


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
    file, line = file_and_line(some["row"])
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
    known = (seconds >= 0) & (seconds < MAX_TIME)
    written = column.to_pandas().where(np.isnan(seconds))
    times = pd.to_datetime(written, errors="coerce", format="ISO8601", utc=True).dt.tz_convert(None)
    given = (np.where(known, seconds, 0) * 1000).astype("datetime64[ms]")
    return pa.array(np.where(known, given, times.to_numpy("datetime64[ms]")), kind)
