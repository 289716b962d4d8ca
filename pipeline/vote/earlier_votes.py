"""Votes that exist when the page starts: those of the vote file itself, and those of other files of the configuration."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

from common.errors import UsageError
from pipeline import files
from pipeline.aggregate.class_answers import expand_class_answers
from pipeline.aggregate.readers.votes import read_votes
from pipeline.aggregate.vote_columns import VoteColumns, codes_of
from pipeline.aggregate.vote_validation import VOTE_ROWS, check_vote_rows, select_valid_votes
from pipeline.config import BuildConfig
from pipeline.layout import Layout
from pipeline.shards import directory
from pipeline.vote.build_images import KeyIndex
from pipeline.vote.questions import question_keys
from schemas.vote import ANSWERS

_NO_FILES = ("retrievals", "without_image", "gold")  # other inputs of the aggregate stage


@dataclass(frozen=True)
class VoteFiles:
    """Paths of the vote files that are only read, and how their answers are read."""

    paths: tuple[str, ...] = ()
    answer_words: dict[str, str] | None = None
    class_answers: bool = False


def vote_files(build: str, own: str, config: BuildConfig | None) -> VoteFiles:
    """Return the vote files besides `own`.

    Raises UsageError if the verdicts of the build were made from other files and no configuration names them.
    """
    ours = (own, gold_path(own))
    if config:
        paths = [files.join(config.source, name) for name in config.votes]
        others = tuple(
            path for path in paths if "://" in path or not any(_is_same_file(path, each) for each in ours)
        )
        return VoteFiles(others, config.aggregate.answer_words, config.aggregate.class_answers)
    manifest = directory.valid_manifest(Layout(build).verdicts)
    inputs = manifest.about.get("inputs", {}) if manifest else {}
    others = tuple(
        sorted(
            name for name in inputs if name not in _NO_FILES and not any(_may_be(name, each) for each in ours)
        )
    )
    if others:
        raise UsageError(
            f"{build} has votes from {', '.join(others)}; add --config with the configuration of the build, so that they "
            "count and nobody is asked again"
        )
    return VoteFiles()


def gold_path(votes: str) -> str:
    """Return the path of the file for votes on gold questions about clean images, beside the vote file."""
    path = Path(votes)
    return str(path.with_name(f"{path.stem}-gold{path.suffix}"))


def _may_be(name: str, own: str) -> bool:
    return os.path.basename(name) == os.path.basename(own)


def _is_same_file(path: str, other: str) -> bool:
    return os.path.realpath(path) == os.path.realpath(other)


def read_rows(
    paths: Sequence[str], classes: Sequence[str], pairs: pa.Table, rules: VoteFiles | None = None
) -> pa.Table:
    """Read the well-formed votes of files (VOTE_ROWS), in the order of the files; `pairs` are the questions.

    Raises DataError if a file cannot be read.
    """
    rules = rules or VoteFiles()
    answer_classes = classes if rules.class_answers else ()
    parts = [VOTE_ROWS.empty_table()]
    for path in paths:
        for records in read_votes(path):
            good, _ = check_vote_rows(records.rows, rules.answer_words, answer_classes, classes)
            parts.append(good)
    votes = pa.concat_tables(parts)
    votes = expand_class_answers(votes, pairs) if rules.class_answers else votes
    return votes.filter(pc.is_valid(votes["class_name"]))


def valid_votes(rows: pa.Table, pairs: pa.Table) -> VoteColumns:
    """Return the votes that count: on one of `pairs`, and the first of each worker on a question."""
    return select_valid_votes(rows, pairs)[0]


class AnswersByWorker:
    """The answers in vote rows, grouped by worker, in the order of the rows."""

    def __init__(self, rows: pa.Table, index: KeyIndex) -> None:
        """rows: of the schema VOTE_ROWS. index: of the keys of all questions; other votes are left out."""
        questions = index.positions(question_keys(rows))
        rows, self._questions = rows.filter(pa.array(questions >= 0)), questions[questions >= 0]
        self._codes, names = codes_of(rows["worker_id"])
        self.workers: dict[str, int] = {name: code for code, name in enumerate(names.to_pylist())}
        """Codes of the workers by name."""
        self._order = np.argsort(self._codes, kind="stable")
        self._sorted = self._codes[self._order]
        self._answers = pc.index_in(rows["answer"], pa.array(ANSWERS)).to_numpy()
        has_seen = "seen_class" in rows.column_names
        self._seen = rows["seen_class"] if has_seen else pa.chunked_array([pa.nulls(rows.num_rows)])

    def rows_of(self, worker: str) -> np.ndarray:
        """Return the rows of a worker, int64 (n,)."""
        code = self.workers.get(worker, -1)
        first, last = np.searchsorted(self._sorted, [code, code + 1])
        return self._order[first:last]

    def questions_of(self, worker: str) -> np.ndarray:
        """Return the questions that a worker has answered, int64 (n,)."""
        return self._questions[self.rows_of(worker)]

    def answers_of(self, worker: str) -> dict[int, tuple[int, str | None]]:
        """Return code of the answer and class seen instead, by question; the first answer to a question counts."""
        found: dict[int, tuple[int, str | None]] = {}
        for row in self.rows_of(worker).tolist():
            found.setdefault(int(self._questions[row]), (int(self._answers[row]), self._seen[row].as_py()))
        return found
