"""The steps of the label job that judge: a bucket by majority, or all of them together; and what they write."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.aggregate.agreement import Interval
from pipeline.aggregate.agreement_table import agreement_table, cohen_by_class
from pipeline.aggregate.columns import QUESTION, VoteColumns, join_columns
from pipeline.aggregate.consensus.methods import consensus
from pipeline.aggregate.consensus.settings import Settings
from pipeline.aggregate.judge import judge, majority_with_posterior, settle_ties
from pipeline.aggregate.majority import majority
from pipeline.aggregate.workers import worker_table
from pipeline.jobs.settle import AggregateSetup
from pipeline.jobs.tables import Written, pack
from pipeline.keyed_hash import by_bucket, shard_key
from pipeline.shards import directory
from pipeline.shards.parquet import write_shard
from schemas.agreement import AGREEMENT
from schemas.verdict import VERDICT
from schemas.worker import WORKER


@dataclass(frozen=True)
class Found:
    """What only the votes of all buckets together tell: skill by worker, and Cohen's kappas by class."""

    skill: dict[str, float] = field(default_factory=dict)
    cohen: dict[str | None, Interval] | None = None


NOTHING = Found()


class JudgeBucket(beam.DoFn):
    """Verdicts of one bucket by majority."""

    def __init__(self, given: AggregateSetup) -> None:
        self.given = given

    def process(self, element: tuple[int, VoteColumns]) -> Iterator[Any]:
        """Write one shard of verdicts."""
        index, votes = element
        config = self.given.config
        table = majority(votes, config.min_votes)
        table = settle_ties(table, config.ties, config.min_votes, self.given.seed)
        yield from write_verdicts(table, self.given, index)


class JudgeAll(beam.DoFn):
    """Verdicts of all buckets by a method that must see all votes, as codes, in one worker."""

    def __init__(self, given: AggregateSetup) -> None:
        self.given = given

    def process(self, parts: list[tuple[int, VoteColumns]]) -> Iterator[Any]:
        """All shards of verdicts; what else was found out, as the side output "found"."""
        config = self.given.config
        votes = join_columns([columns for _, columns in sorted(parts, key=lambda part: part[0])])
        settings = Settings(config.max_iterations, config.tolerance, config.smoothing)
        if config.method == "majority":
            found = consensus(votes.matrix(), "dawid-skene", settings)
            table = majority_with_posterior(votes, found.probabilities, config.min_votes)
        else:
            table, found = judge(
                votes, config.method, settings, config.min_votes, config.min_confidence, self.given.gold
            )
        table = settle_ties(table, config.ties, config.min_votes, self.given.seed)
        skill = dict(zip(votes.workers, found.skill, strict=True)) if config.method != "majority" else {}
        known = {name: float(value) for name, value in skill.items() if not np.isnan(value)}
        yield beam.pvalue.TaggedOutput("found", Found(known, cohen_by_class(votes)))
        for index, rows in by_bucket(table, self.given.buckets):
            yield from write_verdicts(rows, self.given, index)


def without_times(element: tuple[int, VoteColumns]) -> tuple[int, VoteColumns]:
    """What a bucket sends to `JudgeAll`."""
    index, votes = element
    return index, votes.without_times()


def write_verdicts(table: pa.Table, given: AggregateSetup, index: int) -> Iterator[Any]:
    """Write the verdicts of one bucket, sorted by shard key; yield (table, Written), and "judged": (bucket, verdicts)."""
    order = np.argsort(shard_key(table["image_id"].to_pylist()), kind="stable")
    stem = directory.shard_stem("part", index, given.buckets)
    shard = write_shard(given.folders["verdicts"], stem, VERDICT.schema, [table.take(pa.array(order))])
    yield "verdicts", Written(shard, Counter(table["verdict"].to_pylist()))
    yield beam.pvalue.TaggedOutput("judged", (index, pack(table.select([*QUESTION, "verdict"]))))


def write_workers(sums: Iterable[pd.DataFrame], folder: str, found: Found = NOTHING) -> tuple[str, Written]:
    """Write the worker table of the sums of all buckets."""
    table = worker_table(sums, found.skill)
    return "workers", Written(write_shard(folder, directory.shard_stem("part", 0, 1), WORKER.schema, [table]))


def write_agreement(
    patterns: pd.Series | None, folder: str, unsure_offered: bool | None, found: Found = NOTHING
) -> tuple[str, Written]:
    """Write the agreement table of the patterns of all buckets; None if there are no votes."""
    table = agreement_table([] if patterns is None else [patterns], found.cohen, unsure_offered)
    shard = write_shard(folder, directory.shard_stem("part", 0, 1), AGREEMENT.schema, [table])
    return "agreement", Written(shard)
