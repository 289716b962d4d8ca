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
from pipeline.aggregate.error_estimates import (
    fit_error_model,
    p_wrong_of_votes,
    sample_images,
    tabulate_draws,
)
from pipeline.aggregate.error_model import ErrorModel
from pipeline.aggregate.methods.convergence import MethodSettings
from pipeline.aggregate.methods.registry import estimate_posterior
from pipeline.aggregate.seen_class import add_seen_class
from pipeline.aggregate.verdict_checks import verdict_metrics
from pipeline.aggregate.verdicts import (
    gold_codes,
    majority_verdicts,
    majority_with_posterior,
    resolve_ties,
    set_p_wrong,
    verdicts_by_method,
)
from pipeline.aggregate.vote_columns import QUESTION, VoteColumns, join_columns
from pipeline.aggregate.workers import worker_table
from pipeline.jobs.gather import GatherAll
from pipeline.jobs.ordered_sums import AddInOrder
from pipeline.jobs.tables import Written, pack, unpack
from pipeline.jobs.validate_votes import AggregateSetup
from pipeline.keyed_hash import by_bucket, shard_key
from pipeline.shards import directory
from pipeline.shards.parquet import write_shard
from schemas.agreement import AGREEMENT
from schemas.error_model import ERROR_MODEL
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

    def process(self, element: tuple[int, VoteColumns], model: ErrorModel | None) -> Iterator[Any]:
        """Write one shard of verdicts."""
        index, votes = element
        setup, config = self.aggregate_setup, self.aggregate_setup.config
        table = majority_verdicts(votes, config.min_votes)
        table, metrics = complete_verdicts(table, votes, setup, model)
        yield "verdicts", metrics
        yield from sample_verdicts(table, votes, setup, index)
        yield from write_verdicts(table, setup, index)


class DecideJointly(beam.DoFn):
    """Verdicts of all buckets by a method that needs all votes, as codes, in one process."""

    def __init__(self, setup: AggregateSetup) -> None:
        self.aggregate_setup = setup

    def process(self, buckets: list[tuple[int, VoteColumns]], model: ErrorModel | None) -> Iterator[Any]:
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
        table, metrics = complete_verdicts(table, votes, setup, model)
        yield "verdicts", metrics
        yield from sample_verdicts(table, votes, setup)
        yield beam.pvalue.TaggedOutput("joint", JointResults(skill, cohen_by_class(votes)))
        for index, rows in by_bucket(table, setup.buckets):
            yield from write_verdicts(rows, setup, index)


def without_times(element: tuple[int, VoteColumns]) -> tuple[int, VoteColumns]:
    """Drop the columns that `DecideJointly` does not need."""
    index, votes = element
    return index, votes.without_times()


class SampleImages(beam.DoFn):
    """Votes of one bucket → the questions about its images that the error model is fitted to."""

    def __init__(self, setup: AggregateSetup) -> None:
        self.aggregate_setup = setup

    def process(self, element: tuple[int, VoteColumns]) -> Iterator[bytes]:
        """Output a packed table, nothing for a bucket without votes."""
        setup, (_, votes) = self.aggregate_setup, element
        if votes.questions.num_rows:
            gold = gold_codes(votes.questions, setup.gold)
            yield pack(sample_images(votes, gold, setup.questions))


class FitErrorModel(beam.PTransform):
    """PCollection[packed samples] → ErrorModel, or None without votes, one element."""

    def __init__(self, setup: AggregateSetup) -> None:
        super().__init__()
        self.setup = setup

    def expand(self, samples: beam.PCollection) -> beam.PCollection:
        """Gather all samples, and fit."""
        classes, class_answers = self.setup.classes, self.setup.config.class_answers
        return samples | "Fit" >> GatherAll(
            lambda parts: fit_error_model([unpack(part) for part in parts], classes, class_answers)
        )


def complete_verdicts(
    table: pa.Table, votes: VoteColumns, setup: AggregateSetup, model: ErrorModel | None
) -> tuple[pa.Table, Written]:
    """Resolve ties, and fill `seen_class` and, for majority, `p_wrong`; return metrics for warnings, too.

    `table` has the questions of `votes` in their order.
    """
    config = setup.config
    table = resolve_ties(table, config.ties, config.min_votes, setup.seed)
    table = add_seen_class(table, votes.questions["seen_class"])
    gold = gold_codes(votes.questions, setup.gold)
    p_wrong = p_wrong_of_votes(model, votes, gold, setup.classes)
    if config.method == "majority":
        table = set_p_wrong(table, p_wrong)
    return table, Written(None, verdict_metrics(table, p_wrong))


def sample_verdicts(
    table: pa.Table, votes: VoteColumns, setup: AggregateSetup, index: int = 0
) -> Iterator[Any]:
    """Output as "samples": (bucket, [packed questions of the sample with `p_wrong`]); nothing without votes.

    `table` has the completed verdicts on the questions of `votes`, in their order.
    """
    if votes.questions.num_rows:
        gold = gold_codes(votes.questions, setup.gold)
        sample = sample_images(votes, gold, setup.questions, table["p_wrong"])
        yield beam.pvalue.TaggedOutput("samples", (index, [pack(sample)]))


class WriteErrorModel(beam.PTransform):
    """PCollection["samples" of `sample_verdicts`] → ("error_model", Written), one element.

    model: side input, the fitted ErrorModel.
    """

    def __init__(self, setup: AggregateSetup, model: beam.pvalue.AsSingleton) -> None:
        super().__init__()
        self.setup, self.model = setup, model

    def expand(self, samples: beam.PCollection) -> beam.PCollection:
        """Gather the samples of all buckets, and write the table."""
        return (
            samples
            | "GatherSamples" >> AddInOrder(_joined)
            | "Write"
            >> beam.Map(_write_error_model, self.model, self.setup.classes, self.setup.folders["error_model"])
        )


def _joined(parts: list[list[bytes]]) -> list[bytes]:
    return [each for part in parts for each in part]


def _write_error_model(
    samples: list[bytes], model: ErrorModel | None, classes: tuple[str, ...], folder: str
) -> tuple[str, Written]:
    table = tabulate_draws(model, [unpack(part) for part in samples], classes)
    stem = directory.shard_stem("part", 0, 1)
    return "error_model", Written(write_shard(folder, stem, ERROR_MODEL.schema, [table]))


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
