"""Steps of the aggregate job that decide verdicts, bucket by bucket or for all votes at once, and write the tables."""

from collections import Counter
from collections.abc import Iterator
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
from pipeline.aggregate.seen_class import add_seen_class
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
from pipeline.keyed_hash import by_bucket, shard_key
from pipeline.shards import directory
from pipeline.shards.parquet import write_shard
from schemas.agreement import AGREEMENT
from schemas.verdict import VERDICT
from schemas.worker import WORKER


@dataclass(frozen=True)
class JointResults:
    """Results that need the votes of all buckets together: skill by worker, and Cohen's kappa by class."""

    skill: dict[str, float] = field(default_factory=dict)
    cohen: dict[str | None, AgreementEstimate] | None = None


NO_JOINT_RESULTS = JointResults()


class DecideByMajority(beam.DoFn):
    """Verdicts of one bucket by majority."""

    def __init__(self, setup: AggregateSetup) -> None:
        self.aggregate_setup = setup

    def process(self, element: tuple[int, VoteColumns]) -> Iterator[Any]:
        """Write one shard of verdicts."""
        index, votes = element
        setup, config = self.aggregate_setup, self.aggregate_setup.config
        table = majority_verdicts(votes, config.min_votes)
        table = resolve_ties(table, config.ties, config.min_votes, setup.seed)
        yield from write_verdicts(add_seen_class(table, votes.questions["seen_class"]), setup, index)


class DecideJointly(beam.DoFn):
    """Verdicts of all buckets by a method that needs all votes, as codes, in one process."""

    def __init__(self, setup: AggregateSetup) -> None:
        self.aggregate_setup = setup

    def process(self, buckets: list[tuple[int, VoteColumns]]) -> Iterator[Any]:
        """Write all shards of verdicts; output JointResults as the side output "joint"."""
        setup, config = self.aggregate_setup, self.aggregate_setup.config
        votes = join_columns([columns for _, columns in sorted(buckets, key=lambda bucket: bucket[0])])
        settings = MethodSettings(config.max_iterations, smoothing=config.smoothing)
        skill: dict[str, float] = {}
        if config.method == "majority":
            posterior = estimate_posterior(votes.matrix(), "dawid-skene", settings)
            table = majority_with_posterior(votes, posterior.probabilities, config.min_votes)
        else:
            table, posterior = verdicts_by_method(
                votes, config.method, settings, config.min_votes, config.min_confidence, setup.gold
            )
            defined = ~np.isnan(posterior.skill)
            skill = dict(zip(votes.workers[defined], posterior.skill[defined].tolist(), strict=True))
        table = resolve_ties(table, config.ties, config.min_votes, setup.seed)
        table = add_seen_class(table, votes.questions["seen_class"])
        yield beam.pvalue.TaggedOutput("joint", JointResults(skill, cohen_by_class(votes)))
        for index, rows in by_bucket(table, setup.buckets):
            yield from write_verdicts(rows, setup, index)


def without_times(element: tuple[int, VoteColumns]) -> tuple[int, VoteColumns]:
    """Drop the columns that `DecideJointly` does not need."""
    index, votes = element
    return index, votes.without_times()


def write_verdicts(table: pa.Table, setup: AggregateSetup, index: int) -> Iterator[Any]:
    """Write the verdicts of one bucket, sorted by shard key; output them as "verdicts": (bucket, packed verdicts), too."""
    order = np.argsort(shard_key(table["image_id"].to_pylist()), kind="stable")
    stem = directory.shard_stem("part", index, setup.buckets)
    shard = write_shard(setup.folders["verdicts"], stem, VERDICT.schema, [table.take(pa.array(order))])
    yield "verdicts", Written(shard, Counter(table["verdict"].to_pylist()))
    yield beam.pvalue.TaggedOutput("verdicts", (index, pack(table.select([*QUESTION, "verdict"]))))


def write_workers(
    sums: pd.DataFrame, folder: str, joint: JointResults = NO_JOINT_RESULTS
) -> tuple[str, Written]:
    """Write the worker table from the worker sums of all buckets."""
    table = worker_table(sums, joint.skill)
    return "workers", Written(write_shard(folder, directory.shard_stem("part", 0, 1), WORKER.schema, [table]))


def write_agreement(
    patterns: pd.Series | None,
    folder: str,
    unsure_offered: bool | None,
    joint: JointResults = NO_JOINT_RESULTS,
) -> tuple[str, Written]:
    """Write the agreement table from the vote patterns of all buckets; None if there are no votes."""
    table = agreement_table([] if patterns is None else [patterns], joint.cohen, unsure_offered)
    shard = write_shard(folder, directory.shard_stem("part", 0, 1), AGREEMENT.schema, [table])
    return "agreement", Written(shard)
