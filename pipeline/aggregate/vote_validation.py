"""Vote validation over whole columns: the checks of single rows, then the selection of valid votes per question."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import compute as pc

from common.errors import DataError
from pipeline.aggregate.vote_columns import QUESTION, VoteColumns, codes_of, encode_votes
from pipeline.records import file_and_line
from pipeline.rejections import printable, reject
from pipeline.values import identifier_fault, is_bad_identifier, match_names, normalize_column, suggestions
from schemas.vote import ANSWERS, VOTE

MAX_TIME = 253402300800.0  # seconds since 1970: the year 10000
MAX_SECONDS = 1e9  # a longer or negative duration is ignored
MAX_VOTES = np.iinfo(np.int16).max  # valid votes on a question: tables count them as int16

_FILE_NAME = re.compile(r"[/\\]|\.(jpe?g|png|webp|gif|bmp|avif|tiff?|heic)$", re.IGNORECASE)

_LIKELY_NO = ("0", "n", "f", "false", "incorrect", "wrong", "bad", "nein", "non")  # only used in suggestions

# Values of aggregate.repeated_votes, with the details of their rejections.
REPEATED_VOTES = {
    "first": "the worker's first vote on this question counts",
    "last": "the worker's last vote on this question counts",
    "reject": "the worker answered this question more than once, so none of these votes counts",
}

# `location` is the file and line of the vote; it is dropped with the encoding of valid votes.
VOTE_ROWS = VOTE.schema.append(pa.field("location", pa.string()))


def check_vote_rows(
    rows: pa.Table,
    words: Mapping[str, str] | None = None,
    answer_classes: Sequence[str] = (),
    classes: Sequence[str] = (),
) -> tuple[pa.Table, pa.Table]:
    """Check each vote by itself; `rows` are strings as `read_records` gives them.

    words: other words for the answers. answer_classes: classes that a vote without class_name may give as its answer
    (see `expand_class_answers`). classes: names that match in any case and with surrounding white space.

    Returns (votes with their `location`, rejections). Unreadable `seconds` or `time` become null and do not reject a vote. `time`
    is ISO 8601, in UTC by default, or seconds, milliseconds, microseconds or nanoseconds since 1970. `seen_class` is not
    checked here (see `drop_unusable_seen_classes`).
    """
    names = match_names(rows["class_name"], classes)
    rows = rows.set_column(rows.column_names.index("class_name"), "class_name", names)
    as_class = match_names(pc.utf8_trim_whitespace(rows["answer"]), answer_classes)
    answers = read_answers(rows["answer"], words)
    unnamed = pc.is_null(rows["class_name"])
    is_class = pc.and_(unnamed, pc.is_in(as_class, pa.array(answer_classes, pa.string())))
    answers = pc.if_else(is_class, as_class, answers)
    if answer_classes:  # is_in is false for a null answer; equal would be null
        is_class = pc.or_(is_class, pc.and_(unnamed, pc.is_in(answers, pa.array(["unsure"]))))
    is_answer = pc.is_in(answers, pa.array(ANSWERS))
    lacks_class = pc.and_not(unnamed, is_class)
    if answer_classes:  # any other answer is a misspelled class
        lacks_class = pc.and_(lacks_class, is_answer)
    missing = pc.or_(pc.is_null(rows["image_id"]), lacks_class)
    missing = pc.or_(missing, pc.or_(pc.is_null(rows["worker_id"]), pc.is_null(answers)))
    unknown = pc.invert(pc.or_(is_class, is_answer))
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
            match_names(rows["seen_class"], classes),
            rows["location"],
        ],
        schema=VOTE_ROWS,
    ).filter(pa.array(codes == ""))
    bad = rows.filter(pa.array(codes != ""))
    codes = codes[codes != ""]
    unknown_answers = pc.unique(bad["answer"].filter(pa.array(codes == "unknown_answer"))).to_pylist()
    near = suggestions(unknown_answers, answer_classes) if answer_classes else {}
    details = [_detail(code, row, near) for code, row in zip(codes, bad.to_pylist(), strict=True)]
    return good, reject(bad, codes, details)


def read_answers(answers: pa.ChunkedArray, words: Mapping[str, str] | None) -> pa.ChunkedArray:
    """Return answers in lower case, with each of `words` replaced once by the answer it stands for."""
    answers = pc.utf8_lower(pc.utf8_trim_whitespace(answers))
    if not words:
        return answers
    keys = normalize_column("answer", pa.array(words, pa.string())).to_pylist()
    replacements = {(key or "").lower(): answer for key, answer in zip(keys, words.values(), strict=True)}
    index = pc.index_in(answers, pa.array(list(replacements), pa.string()))
    return pc.coalesce(pa.array(list(replacements.values()), pa.string()).take(index), answers)


def _bad_identifier(rows: pa.Table) -> pa.ChunkedArray:
    image, name, worker = (
        pc.fill_null(is_bad_identifier(rows[column]), False)
        for column in ("image_id", "class_name", "worker_id")
    )
    return pc.or_(image, pc.or_(name, worker))


def _detail(code: str, row: dict[str, str | None], near: Mapping[str, str]) -> str:
    """Describe what is wrong with a rejected vote, and how to fix it; `near`: suggested classes if votes may name one."""
    names = ("image_id", "class_name", "worker_id", "answer")
    if code == "missing_value":
        missing = ", ".join(name for name in names if row[name] is None)
        detail = f"{missing} missing; a vote needs image_id, class_name, worker_id and answer"
        if row["image_id"] is None:
            detail += " (tasks made with `aggregate --next-questions N --format TOOL` contain the question)"
        return detail
    if code == "bad_id":
        name = next(name for name in names if identifier_fault(row[name] or ""))
        return f"{name} {printable(row[name] or '')[:80]!r}: {identifier_fault(row[name] or '')}; change it in the vote file"
    answer = printable(row["answer"] or "")[:80]
    meaning = "no" if answer.lower() in _LIKELY_NO else "yes"
    remedy = f"use yes, no or unsure, or set aggregate.answer_words: {{{answer!r}: {meaning!r}}}"
    hint = near.get(row["answer"] or "")
    if row["class_name"] is None and hint is not None:
        return f"answer {answer!r}{hint} is neither a class nor unsure; {remedy}"
    return f"answer {answer!r}; {remedy}"


def select_valid_votes(
    votes: pa.Table, questions: pa.Table, repeated_votes: str = "first", without_image: pa.Table | None = None
) -> tuple[VoteColumns, pa.Table]:
    """Select the valid votes; `votes` must hold all votes on an image, in any order.

    questions: retrieval rows of web images; votes on anything else are rejected. repeated_votes: which of several votes
    of a worker on a question is valid: `first`, `last`, or none (`reject`). Votes are ordered by time, those without a
    time last, then by file and line. without_image: list rows that ingest rejected; votes on them get the code
    image_rejected. Returns (valid votes, rejections). Raises DataError if a question has more than MAX_VOTES valid votes.
    """
    unknown = ~_is_about(votes, questions)
    repeated = ~unknown & _is_superseded(votes, repeated_votes)
    codes = np.where(unknown, "unknown_image", np.where(repeated, "duplicate_vote", ""))
    if without_image is not None and unknown.any():
        # A vote that names a class has no class_name here if its image has no questions (`expand_class_answers`).
        of_image = pc.and_(
            pc.is_null(votes["class_name"]), pc.is_in(votes["image_id"], without_image["image_id"])
        )
        lost = _is_about(votes, without_image) | of_image.to_numpy()
        codes = np.where(unknown & lost, "image_rejected", codes)
    bad = votes.filter(pa.array(codes != ""))
    classes = pc.unique(questions["class_name"]).to_pylist()
    details = {
        "duplicate_vote": REPEATED_VOTES[repeated_votes],
        "image_rejected": "the image was rejected by ingest; see the rejections of ingest for the reason",
    }
    names = set(pc.unique(bad["class_name"]).to_pylist()) - {*classes, None}
    near = suggestions(names, classes)
    detail = [
        details.get(code) or _unknown_question(image, name, near)
        for code, image, name in zip(
            codes[codes != ""], bad["image_id"].to_pylist(), bad["class_name"].to_pylist(), strict=True
        )
    ]
    valid = encode_votes(votes.filter(pa.array(codes == "")))
    _check_votes_per_question(valid)
    return valid, reject(bad, codes[codes != ""], detail)


def _check_votes_per_question(votes: VoteColumns) -> None:
    counts = votes.counts().sum(axis=1)
    if counts.max(initial=0) > MAX_VOTES:
        most = int(counts.argmax())
        image_id, class_name = (votes.questions[name][most].as_py() for name in QUESTION)
        raise DataError(
            f"image {image_id!r}, class {class_name!r}: {counts[most]:,} workers have voted on this question, and at most "
            f"{MAX_VOTES:,} are supported; check whether several images share this image_id, or remove some of these votes"
        )


def _unknown_question(image_id: str, class_name: str | None, near: Mapping[str, str]) -> str:
    """Describe why a vote belongs to no question, and how to fix it; `near`: suggestions by unknown class."""
    if "://" in image_id:
        return (
            "image_id is a URL; use the image_id of the web list (by default the first 16 hexadecimal digits of the SHA-256 "
            "of the URL)"
        )
    if class_name is not None and class_name in near:
        shown = printable(class_name)[:80]
        return f"no such question: no web list has class {shown!r}{near[class_name]}; fix the class_name"
    if _FILE_NAME.search(image_id):
        return (
            "no such question: image_id looks like a path; use the image_id of the web list (list-folder names "
            "photos/ant/1.jpg photos-ant-1)"
        )
    return (
        "no such question among the ingested web images; compare image_id and class_name with the web lists"
    )


def _is_about(votes: pa.Table, questions: pa.Table) -> np.ndarray:
    """Return whether each vote is about one of the questions, bool (V,)."""
    values_of = [pc.unique(questions[name]) for name in QUESTION]

    def keys(table: pa.Table) -> np.ndarray:
        image, name = (
            pc.fill_null(pc.index_in(table[column], values), -1).to_numpy().astype(np.int64)
            for column, values in zip(QUESTION, values_of, strict=True)
        )
        return np.where((image < 0) | (name < 0), -1, image * len(values_of[1]) + name)

    return np.isin(keys(votes), keys(questions))


def _is_superseded(votes: pa.Table, repeated_votes: str) -> np.ndarray:
    """Return whether another vote of the worker on the question counts instead (`reject`: none counts), bool (V,)."""
    keys = np.zeros(votes.num_rows, np.int64)
    for name in (*QUESTION, "worker_id"):
        codes, values = codes_of(votes[name])
        keys = keys * len(values) + codes
    order = np.argsort(keys)
    same = np.diff(keys[order]) == 0
    superseded = np.zeros(len(keys), bool)
    superseded[order[1:][same]] = superseded[order[:-1][same]] = True
    if repeated_votes == "reject" or not superseded.any():
        return superseded
    rows = np.flatnonzero(superseded)
    repeated = votes.take(pa.array(rows))
    file, line = file_and_line(repeated["location"])
    frame = pd.DataFrame(
        {"key": keys[rows], "time": repeated["time"].cast(pa.int64()).to_pandas(), "file": file, "line": line}
    )
    frame = frame.sort_values(["time", "file", "line"], kind="stable", na_position="last")
    keep: Literal["first", "last"] = "last" if repeated_votes == "last" else "first"
    superseded[rows] = frame.duplicated("key", keep=keep).sort_index().to_numpy()
    return superseded


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    if column.null_count == len(column):
        return np.full(len(column), np.nan)
    numbers: np.ndarray = pd.to_numeric(column.to_pandas(), errors="coerce").to_numpy(
        np.float64, na_value=np.nan
    )
    return numbers


def _times(column: pa.ChunkedArray) -> pa.Array:
    time_type = VOTE.schema.field("time").type
    if column.null_count == len(column):
        return pa.nulls(len(column), time_type)
    seconds = _numbers(column)
    for _ in range(3):  # pandas writes milliseconds in JSON, and up to nanoseconds as integers
        seconds = np.where((seconds >= MAX_TIME) & (seconds < MAX_TIME * 1e9), seconds / 1000, seconds)
    is_number = (seconds >= 0) & (seconds < MAX_TIME)
    # A date begins with a digit; pandas also reads the words "now" and "today".
    is_date = pc.fill_null(pc.match_substring_regex(column, r"^\s*[+-]?[0-9]"), False).to_numpy()
    written = column.to_pandas().where(np.isnan(seconds) & is_date)
    times = pd.to_datetime(written, errors="coerce", format="ISO8601", utc=True).dt.tz_convert(None)
    from_number = (np.where(is_number, seconds, 0) * 1000).astype("datetime64[ms]")
    return pa.array(np.where(is_number, from_number, times.to_numpy("datetime64[ms]")), time_type)
