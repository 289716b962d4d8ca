"""The steps of the label job that judge: a bucket by majority, or all of them together; and what they write."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.aggregate.agreement import AgreementEstimate
from pipeline.aggregate.agreement_table import agreement_table, cohen_by_class
from pipeline.aggregate.methods.convergence import MethodSettings
from pipeline.aggregate.methods.registry import estimate_posterior
from pipeline.aggregate.verdicts import (
    majority_verdicts,
    majority_with_posterior,
    resolve_ties,
    verdicts_by_method,
)
from pipeline.aggregate.vote_columns import QUESTION, VoteColumns, join_columns
from pipeline.aggregate.workers import worker_table
from pipeline.jobs.tables import Written, pack
from pipeline.jobs.validate_votes import AggregateSetup
from pipeline.keyed_hash import by_bucket, place
from pipeline.shards import directory
from pipeline.shards.parquet import write_shard
from schemas.agreement import AGREEMENT
from schemas.verdict import VERDICT
from schemas.worker import WORKER


@dataclass(frozen=True)
class JointResults:
    """What only the votes of all buckets together tell: skill by worker, and Cohen's kappas by class."""

    skill: dict[str, float] = field(default_factory=dict)
    cohen: dict[str | None, AgreementEstimate] | None = None


NOTHING = JointResults()


class DecideBucket(beam.DoFn):
    """Verdicts of one bucket by majority."""

    def __init__(self, given: AggregateSetup) -> None:
        self.given = given

    def process(self, element: tuple[int, VoteColumns]) -> Iterator[Any]:
        """Write one shard of verdicts."""
        index, votes = element
        config = self.given.config
        table = majority_verdicts(votes, config.min_votes)
        table = resolve_ties(table, config.ties, config.min_votes, self.given.seed)
        yield from write_verdicts(table, self.given, index)


class DecideAll(beam.DoFn):
    """Verdicts of all buckets by a method that must see all votes, as codes, in one worker."""

    def __init__(self, given: AggregateSetup) -> None:
        self.given = given

    def process(self, parts: list[tuple[int, VoteColumns]]) -> Iterator[Any]:
        """All shards of verdicts; what else was found out, as the side output "found"."""
        config = self.given.config
        votes = join_columns([columns for _, columns in sorted(parts, key=lambda part: part[0])])
        settings = MethodSettings(config.max_iterations, config.tolerance, config.smoothing)
        if config.method == "majority":
            found = estimate_posterior(votes.matrix(), "dawid-skene", settings)
            table = majority_with_posterior(votes, found.probabilities, config.min_votes)
        else:
            table, found = verdicts_by_method(
                votes, config.method, settings, config.min_votes, config.min_confidence, self.given.gold
            )
        table = resolve_ties(table, config.ties, config.min_votes, self.given.seed)
        skill = dict(zip(votes.workers, found.skill, strict=True)) if config.method != "majority" else {}
        known = {name: float(value) for name, value in skill.items() if not np.isnan(value)}
        yield beam.pvalue.TaggedOutput("found", JointResults(known, cohen_by_class(votes)))
        for index, rows in by_bucket(table, self.given.buckets):
            yield from write_verdicts(rows, self.given, index)


def without_times(element: tuple[int, VoteColumns]) -> tuple[int, VoteColumns]:
    """What a bucket sends to `DecideAll`."""
    index, votes = element
    return index, votes.without_times()


def write_verdicts(table: pa.Table, given: AggregateSetup, index: int) -> Iterator[Any]:
    """Write the verdicts of one bucket, sorted by shard key; yield (table, Written), and "judged": (bucket, verdicts)."""
    order = np.argsort(place(table["image_id"].to_pylist()), kind="stable")
    stem = directory.shard_stem("part", index, given.buckets)
    shard = write_shard(given.folders["verdicts"], stem, VERDICT.schema, [table.take(pa.array(order))])
    yield "verdicts", Written(shard, Counter(table["verdict"].to_pylist()))
    yield beam.pvalue.TaggedOutput("judged", (index, pack(table.select([*QUESTION, "verdict"]))))


def write_workers(
    sums: Iterable[pd.DataFrame], folder: str, found: JointResults = NOTHING
) -> tuple[str, Written]:
    """Write the worker table of the sums of all buckets."""
    table = worker_table(sums, found.skill)
    return "workers", Written(write_shard(folder, directory.shard_stem("part", 0, 1), WORKER.schema, [table]))


def write_agreement(
    patterns: pd.Series | None, folder: str, unsure_offered: bool | None, found: JointResults = NOTHING
) -> tuple[str, Written]:
    """Write the agreement table of the patterns of all buckets; None if there are no votes."""
    table = agreement_table([] if patterns is None else [patterns], found.cohen, unsure_offered)
    shard = write_shard(folder, directory.shard_stem("part", 0, 1), AGREEMENT.schema, [table])
    return "agreement", Written(shard)
