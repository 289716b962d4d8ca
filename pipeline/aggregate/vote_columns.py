"""Votes as integer codes: all steps after the row checks work on these columns."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

from pipeline.aggregate.methods.vote_matrix import VoteMatrix
from schemas.valid_vote import VALID_VOTE
from schemas.vote import ANSWERS

QUESTION = ["image_id", "class_name"]
QUESTION_COLUMNS = [*QUESTION, "seen_class"]
DAY = 86_400_000.0  # milliseconds


@dataclass(frozen=True)
class VoteColumns:
    """V votes on n questions, sorted by question and worker.

    questions: image_id, class_name and seen_class (see `most_named_class`), sorted within a bucket. workers: names, sorted.
    items, voters: int32 (V,), codes into questions and workers. answers: int8 (V,), codes into ANSWERS. seconds: float32
    (V,), time the worker took. days: float64 (V,), time of the answer in days since 1970. Both are NaN if not given, and
    None if the buckets are joined.
    """

    questions: pa.Table
    workers: np.ndarray
    items: np.ndarray
    voters: np.ndarray
    answers: np.ndarray
    seconds: np.ndarray | None = None
    days: np.ndarray | None = None

    def matrix(self) -> VoteMatrix:
        """Return the votes for aggregation methods: the classes are yes and no, unsure is the third answer."""
        sizes = {"n_items": self.questions.num_rows, "n_workers": len(self.workers)}
        return VoteMatrix.of(self.items, self.voters, self.answers, 2, len(ANSWERS), **sizes)

    def counts(self) -> np.ndarray:
        """Return the number of votes by question and answer, int64 (n, 3)."""
        cells = self.items.astype(np.int64) * len(ANSWERS) + self.answers
        sums = np.bincount(cells, minlength=self.questions.num_rows * len(ANSWERS))
        return sums.reshape(-1, len(ANSWERS))

    def to_valid_votes(self, gold: np.ndarray) -> pa.Table:
        """Return the VALID_VOTE table, with the gold answers (n,) of the questions; `decode_valid_votes` reads it."""
        rows = pa.array(self.items)
        columns = {
            "question": rows,
            **{name: self.questions[name].combine_chunks().take(rows) for name in QUESTION_COLUMNS},
            "known": gold.astype(np.int8)[self.items],
            "worker_id": pa.array(self.workers, pa.string()).take(pa.array(self.voters)),
            "answer": self.answers,
            "seconds": self.seconds,
            "days": self.days,
        }
        return pa.table(columns).cast(VALID_VOTE.schema)

    def without_times(self) -> "VoteColumns":
        """Return a copy without `seconds` and `days`, which the methods do not need."""
        return replace(self, seconds=None, days=None)


def codes_of(column: pa.ChunkedArray) -> tuple[np.ndarray, pa.Array]:
    """Return codes (n,) into the distinct values of a column, and these values, sorted, null last."""
    encoded = column.combine_chunks().dictionary_encode("encode")
    order = pc.sort_indices(encoded.dictionary)
    ranks = np.empty(len(order), np.int64)
    ranks[order.to_numpy()] = np.arange(len(order))
    return ranks[encoded.indices.to_numpy(zero_copy_only=False)], encoded.dictionary.take(order)


def encode_votes(votes: pa.Table) -> VoteColumns:
    """Encode a vote table in which no worker has answered a question twice."""
    images, image_names = codes_of(votes["image_id"])
    classes, class_names = codes_of(votes["class_name"])
    voters, workers = codes_of(votes["worker_id"])
    keys = images * len(class_names) + classes
    order = np.argsort(keys * len(workers) + voters)
    keys = keys[order]
    is_first = np.diff(keys, prepend=-1) > 0  # the first vote on each question
    asked = keys[is_first]
    names = [
        image_names.take(pa.array(asked // max(len(class_names), 1))),
        class_names.take(pa.array(asked % max(len(class_names), 1))),
    ]
    answers = pc.index_in(votes["answer"], pa.array(ANSWERS)).to_numpy()
    items = (np.cumsum(is_first) - 1).astype(np.int32)
    names.append(most_named_class(items, votes["seen_class"].take(pa.array(order)), len(asked)))
    days = votes["time"].cast(pa.int64()).to_numpy() / DAY
    return VoteColumns(
        pa.table(names, names=QUESTION_COLUMNS),
        workers.to_numpy(zero_copy_only=False),
        items,
        voters[order].astype(np.int32),
        answers[order].astype(np.int8),
        votes["seconds"].to_numpy()[order],
        days[order],
    )


def most_named_class(items: np.ndarray, seen: pa.ChunkedArray, questions: int) -> pa.Array:
    """Return, for each question, the class that more than half of the votes with a `seen_class` name; null without one.

    items: int (V,), ascending codes of the questions. seen: class names (V,), null where a vote names none.
    """
    rows = np.flatnonzero(pc.is_valid(seen).to_numpy())
    codes, names = codes_of(seen.take(pa.array(rows)))
    keys = items[rows].astype(np.int64) * max(len(names), 1) + codes
    named = np.bincount(items[rows], minlength=questions)
    pairs, counts = np.unique(keys, return_counts=True)
    owners, classes = np.divmod(pairs, max(len(names), 1))
    is_most = 2 * counts > named[owners]
    chosen = np.full(questions, -1)
    chosen[owners[is_most]] = classes[is_most]
    return names.cast(pa.string()).take(pa.array(chosen, mask=chosen < 0))


def decode_valid_votes(rows: pa.Table) -> tuple[VoteColumns, np.ndarray]:
    """Decode a shard of VALID_VOTE; return its votes and the gold answers of its questions, int (n,).

    The columns seconds, days, image_id, class_name and seen_class may be missing; the result lacks them too.
    """
    items, answers = rows["question"].to_numpy(), rows["answer"].to_numpy()
    voters, workers = codes_of(rows["worker_id"])
    first = pa.array(np.flatnonzero(np.diff(items, prepend=-1)))
    named = [name for name in QUESTION_COLUMNS if name in rows.column_names]
    times = [rows[name].to_numpy() if name in rows.column_names else None for name in ("seconds", "days")]
    votes = VoteColumns(
        rows.select(["question", *named]).take(first),
        workers.to_numpy(zero_copy_only=False),
        items,
        voters.astype(np.int32),
        answers,
        *times,
    )
    return votes, rows["known"].take(first).to_numpy()


def join_columns(parts: Sequence[VoteColumns]) -> VoteColumns:
    """Concatenate buckets, which share workers but no questions; times are dropped."""
    workers = np.unique(np.concatenate([np.empty(0, object), *(part.workers for part in parts)]))
    starts = np.cumsum([0, *(part.questions.num_rows for part in parts)])
    no_codes = np.empty(0, np.int32)
    items = [part.items + np.int32(start) for part, start in zip(parts, starts, strict=False)]
    voters = [np.searchsorted(workers, part.workers).astype(np.int32)[part.voters] for part in parts]
    empty = pa.schema([(name, pa.string()) for name in QUESTION_COLUMNS]).empty_table()
    return VoteColumns(
        pa.concat_tables([empty, *(part.questions for part in parts)]),
        workers,
        np.concatenate([no_codes, *items]),
        np.concatenate([no_codes, *voters]),
        np.concatenate([np.empty(0, np.int8), *(part.answers for part in parts)]),
    )
