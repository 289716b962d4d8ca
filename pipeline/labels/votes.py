"""The rules for votes, over whole columns."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import compute as pc

from pipeline.records import file_and_line
from pipeline.rejections import reject
from schemas.vote import ANSWERS, VOTE

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
    `choices` as its answer, or be unsure; `expand_choices` takes it from there. An unreadable time is no reason to
    lose a vote: it becomes null.
    """
    answers = pc.utf8_lower(pc.utf8_trim_whitespace(rows["answer"]))
    for word, answer in (words or {}).items():
        answers = pc.if_else(pc.equal(answers, word.strip().lower()), answer, answers)
    as_written = pc.utf8_trim_whitespace(rows["answer"])
    chosen = pc.and_(pc.is_null(rows["class_name"]), pc.is_in(as_written, pa.array(choices, pa.string())))
    answers = pc.if_else(chosen, as_written, answers)
    chosen = (
        pc.or_(chosen, pc.and_(pc.is_null(rows["class_name"]), pc.equal(answers, "unsure")))
        if choices
        else chosen
    )
    missing = pc.or_(pc.is_null(rows["image_id"]), pc.and_not(pc.is_null(rows["class_name"]), chosen))
    missing = pc.or_(missing, pc.or_(pc.is_null(rows["worker_id"]), pc.is_null(answers)))
    unknown = pc.invert(pc.or_(chosen, pc.is_in(answers, pa.array(ANSWERS))))
    codes = np.where(missing, "missing_value", np.where(unknown, "unknown_answer", ""))
    seconds = pd.to_numeric(rows["seconds"].to_pandas(), errors="coerce").to_numpy(
        np.float64, na_value=np.nan
    )
    seconds = np.where((seconds >= 0) & (seconds < MAX_SECONDS), seconds, np.nan)
    good = pa.table(
        [
            *(rows[name] for name in ("image_id", "class_name", "worker_id")),
            answers,
            pa.array(seconds.astype(np.float32), pa.float32(), from_pandas=True),
            rows["row"],
        ],
        schema=VOTE_ROWS,
    ).filter(pa.array(codes == ""))
    bad = rows.filter(pa.array(codes != ""))
    codes = codes[codes != ""]
    details = [
        f"answer {answer!r}; use yes, no or unsure"
        if code == "unknown_answer"
        else "all but seconds is needed"
        for code, answer in zip(codes, bad["answer"].to_pylist(), strict=True)
    ]
    return good, reject(bad, codes, details)


def settle_votes(
    votes: pa.Table, questions: pa.Table, duplicates: str = "first"
) -> tuple[pd.DataFrame, pa.Table]:
    """Keep the votes that count; all votes of an image must be in `votes`, in any order.

    `questions` are the retrieval rows of web images. Rejected are votes about anything else, and all votes of a
    worker on one question but the `first` or the `last` (by file and line), or each of them (`reject`). Returns (votes
    kept, rejections).
    """
    frame = votes.to_pandas()
    frame["_file"], frame["_line"] = file_and_line(votes["row"])
    frame = frame.sort_values(["_file", "_line"], kind="stable")
    votes = votes.take(pa.array(frame.index.to_numpy()))

    question = ["image_id", "class_name"]
    asked = pd.MultiIndex.from_frame(questions.select(question).to_pandas())
    unknown = ~pd.MultiIndex.from_frame(frame[question]).isin(asked)
    keep = False if duplicates == "reject" else duplicates
    repeated = frame.duplicated([*question, "worker_id"], keep=keep).to_numpy() & ~unknown
    bad = unknown | repeated
    codes = np.where(unknown, "unknown_image", "duplicate_vote")[bad]
    detail = [
        "no such question among the web images that were kept"
        if code == "unknown_image"
        else DUPLICATES[duplicates]
        for code in codes
    ]
    return frame[~bad], reject(votes.filter(pa.array(bad)), codes, detail)
