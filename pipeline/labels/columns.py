"""Votes as codes: what a bucket sends to the one worker that models the workers of all."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.labels.consensus.matrix import VoteMatrix
from pipeline.labels.majority import QUESTION
from schemas.vote import ANSWERS


@dataclass(frozen=True)
class VoteColumns:
    """V votes on n questions.

    `questions` has image_id and class_name, sorted within a bucket; `workers` are the names, sorted; `items` and
    `voters` int32 (V,) are codes into the two, `answers` int8 (V,) one into ANSWERS.
    """

    questions: pa.Table
    workers: np.ndarray
    items: np.ndarray
    voters: np.ndarray
    answers: np.ndarray

    def matrix(self) -> VoteMatrix:
        """The same for the methods: classes are yes and no, unsure is the third answer."""
        sizes = {"n_items": self.questions.num_rows, "n_workers": len(self.workers)}
        return VoteMatrix.of(self.items, self.voters, self.answers, 2, len(ANSWERS), **sizes)

    def counts(self) -> np.ndarray:
        """Votes by question and answer, int64 (n, 3)."""
        cells = self.items.astype(np.int64) * len(ANSWERS) + self.answers
        sums = np.bincount(cells, minlength=self.questions.num_rows * len(ANSWERS))
        return sums.reshape(-1, len(ANSWERS))


def encode_votes(votes: pd.DataFrame) -> VoteColumns:
    """Code votes with image_id, class_name, worker_id and answer."""
    groups = votes.groupby(QUESTION, sort=True)
    questions = groups.size().index.to_frame(index=False)
    voters, workers = pd.factorize(votes["worker_id"].to_numpy(dtype=object), sort=True)
    table = pa.table([pa.array(questions[name], pa.string()) for name in QUESTION], names=QUESTION)
    answers = pd.Index(ANSWERS).get_indexer(pd.Index(votes["answer"]))
    items = groups.ngroup().to_numpy()
    return VoteColumns(
        table, workers, items.astype(np.int32), voters.astype(np.int32), answers.astype(np.int8)
    )


def join_columns(parts: Sequence[VoteColumns]) -> VoteColumns:
    """One after the other: questions are different ones, workers may be the same."""
    workers = np.unique(np.concatenate([np.empty(0, object), *(part.workers for part in parts)]))
    starts = np.cumsum([0, *(part.questions.num_rows for part in parts)])
    none = np.empty(0, np.int32)
    items = [part.items + np.int32(start) for part, start in zip(parts, starts, strict=False)]
    voters = [np.searchsorted(workers, part.workers).astype(np.int32)[part.voters] for part in parts]
    empty = pa.schema([(name, pa.string()) for name in QUESTION]).empty_table()
    return VoteColumns(
        pa.concat_tables([empty, *(part.questions for part in parts)]),
        workers,
        np.concatenate([none, *items]),
        np.concatenate([none, *voters]),
        np.concatenate([np.empty(0, np.int8), *(part.answers for part in parts)]),
    )
