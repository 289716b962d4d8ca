"""The questions of a voting page in the order in which they are asked, with the votes that they have."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.aggregate.next_questions import next_questions
from pipeline.aggregate.verdicts import majority_of_counts
from pipeline.aggregate.vote_columns import QUESTION, VoteColumns
from pipeline.keyed_hash import keyed_hash
from pipeline.layout import Layout
from pipeline.report.freshness import finished_stages
from pipeline.shards import directory
from pipeline.vote.build_images import KeyIndex, ListedPairs
from schemas.verdict import VERDICT
from schemas.vote import ANSWERS

RUN = 12  # questions about one class in a row, so that a worker compares with the same examples
_NO_BUDGET = 1 << 60
_COUNTS = list(ANSWERS)


@dataclass(frozen=True)
class Questions:
    """n questions in the order in which they are asked.

    pairs: image_id and class_name. classes: int (n,), codes of the classes. keys: uint64 (n,). runs: int (n,),
    ascending. counts: int (n, 3), votes so far. undecided: bool (n,). known: int8 (n,), the code of the known answer of
    gold questions, or -1. of_build: bool (n,); false for gold questions about clean images, which are no candidates.
    """

    pairs: pa.Table
    classes: np.ndarray
    keys: np.ndarray
    runs: np.ndarray
    counts: np.ndarray
    undecided: np.ndarray
    known: np.ndarray
    of_build: np.ndarray

    def __len__(self) -> int:
        return len(self.keys)


def question_keys(pairs: pa.Table) -> np.ndarray:
    """Return the keys of questions, uint64 (n,); they stay the same in later builds."""
    names = zip(*(pairs[name].to_pylist() for name in QUESTION), strict=True)
    return keyed_hash(("\n".join(pair) for pair in names), 0, "vote question")


def ask_in_order(build: str, listed: ListedPairs, votes: VoteColumns, least: int, most: int) -> Questions:
    """Return the questions of a build: those that need votes as `next_questions` orders them, then the others.

    Questions that are equally informative come in runs of up to RUN about one class. `votes` are the valid votes so far.
    """
    keys = question_keys(listed.web)
    index = KeyIndex(keys)
    counts = np.zeros((len(keys), len(ANSWERS)), np.int64)
    counts[index.positions(question_keys(votes.questions))] = votes.counts()
    verdicts = majority_of_counts(listed.web, counts, least).to_pandas()
    verdicts = _with_stage_verdicts(build, verdicts, index)
    web = listed.web.to_pandas().assign(path=None, url=None)
    has_votes = verdicts[_COUNTS].sum(axis=1) > 0
    asked = next_questions([(web, verdicts[has_votes])], _NO_BUDGET, least, most)
    order = index.positions(question_keys(asked))
    class_codes = pd.Index(listed.classes).get_indexer(web["class_name"])
    has_least = sum(asked[name].to_numpy().astype(np.int64) for name in ANSWERS) >= least
    informative = np.stack([has_least, asked["expected_bits"].to_numpy()], axis=1)
    is_asked = np.zeros(len(keys), bool)
    is_asked[order] = True
    rest = np.flatnonzero(~is_asked)
    order, runs = _in_runs(order, class_codes[order], informative, listed.classes)
    order = np.concatenate([order, rest])
    runs = np.concatenate([runs, np.full(len(rest), runs.max(initial=-1) + 1)])
    undecided = (verdicts["verdict"] == "undecided").to_numpy()
    return Questions(
        listed.web.take(pa.array(order)), class_codes[order], keys[order], runs, counts[order], undecided[order],
        np.full(len(keys), -1, np.int8), np.ones(len(keys), bool),
    )  # fmt: skip


def _with_stage_verdicts(build: str, verdicts: pd.DataFrame, index: KeyIndex) -> pd.DataFrame:
    """Replace majority verdicts by those of the aggregate stage where it has seen the same votes."""
    if "aggregate" not in finished_stages(build):
        return verdicts
    table = directory.read_table(Layout(build).verdicts, VERDICT)
    rows = index.positions(question_keys(table))
    stage = table.to_pandas()[rows >= 0].set_axis(rows[rows >= 0], axis=0)
    same = (stage[_COUNTS] == verdicts.loc[stage.index, _COUNTS]).all(axis=1)
    for name in ("verdict", "posterior"):
        verdicts.loc[stage.index[same], name] = stage.loc[same, name]
    return verdicts


def _in_runs(
    order: np.ndarray, classes: np.ndarray, informative: np.ndarray, names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Group equally informative questions by class, in runs of up to RUN; return their new order and their runs.

    order: int (n,), best first; classes: int (n,); informative: (n, k), equal rows are equally informative.
    """
    n = len(order)
    if not n:
        return order, np.empty(0, np.int64)
    level = np.concatenate([[0], np.cumsum((np.diff(informative, axis=0) != 0).any(axis=1))])
    group = level * len(names) + classes
    by_group = np.argsort(group, kind="stable")
    sorted_group = group[by_group]
    first = np.searchsorted(sorted_group, sorted_group)  # first row of each group
    part = np.empty(n, np.int64)
    part[by_group] = (np.arange(n) - first) // RUN
    parts = int(part.max()) + 1
    distinct, run = np.unique(group * parts + part, return_inverse=True)
    groups, part_numbers = np.divmod(distinct, parts)
    levels, codes = np.divmod(groups, len(names))
    runs_named = zip(codes.tolist(), part_numbers.tolist(), strict=True)
    hashes = keyed_hash((f"{names[code]}\n{number}" for code, number in runs_named), 0, "vote runs")
    rank = np.empty(len(distinct), np.int64)
    rank[np.lexsort([hashes, levels])] = np.arange(len(distinct))
    runs = rank[run]
    new_order = np.argsort(runs, kind="stable")
    return order[new_order], runs[new_order]
