"""Dawid-Skene for more votes than one process can hold: each EM iteration is one Beam job over all buckets.

The first job validates the votes and stores the valid ones by bucket; the last job writes the tables of the stage. Each
job commits its result with a manifest, so a killed stage resumes at the iteration it had reached. The agreement table
has no Cohen's kappa, which needs all pairs of votes at once.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import apache_beam as beam
import numpy as np
import pandas as pd
from apache_beam.options.pipeline_options import GoogleCloudOptions

from common.errors import UsageError
from pipeline import files
from pipeline.aggregate.error_model import ErrorModel
from pipeline.aggregate.gold_votes import gold_vote_sums
from pipeline.aggregate.methods.convergence import ConvergenceMonitor, MethodSettings
from pipeline.aggregate.methods.distributed_em import (
    DawidSkeneModel,
    ExpectedCounts,
    expected_counts,
    initial_posterior,
)
from pipeline.aggregate.methods.posterior import UNKNOWN
from pipeline.aggregate.verdicts import (
    gold_codes,
    majority_with_posterior,
    verdicts_of_posterior,
)
from pipeline.aggregate.vote_columns import QUESTION, VoteColumns, decode_valid_votes
from pipeline.aggregate.workers import add_worker_sums, worker_sums
from pipeline.jobs.expected_counts import StoreExpectedCounts, read_counts
from pipeline.jobs.ordered_sums import AddInOrder
from pipeline.jobs.retrieval_precision import MeasureRetrievalPrecision
from pipeline.jobs.tables import AddCounts, Commit, CommitTables, Written
from pipeline.jobs.validate_votes import TABLES, AggregateSetup, ValidateVotes, shards_by_bucket
from pipeline.jobs.verdicts import (
    FitErrorModel,
    JointResults,
    SampleImages,
    WriteErrorModel,
    complete_verdicts,
    sample_verdicts,
    write_agreement,
    write_verdicts,
    write_workers,
)
from pipeline.layout import Layout
from pipeline.running.options import beam_options
from pipeline.running.progress import advance
from pipeline.running.run import JobSpec, run_job
from pipeline.running.stage import Stage, counts
from pipeline.shards import commit, directory
from pipeline.shards.parquet import write_shard
from schemas.agreement import AGREEMENT
from schemas.gold_vote import GOLD_VOTE
from schemas.manifest import Manifest, Shard
from schemas.rejection import REJECTION
from schemas.valid_vote import VALID_VOTE

INTERMEDIATE = {  # tables that the first job writes, by name
    "votes": VALID_VOTE,
    "rejections": REJECTION,
    "agreement": AGREEMENT,
    "gold_votes": GOLD_VOTE,
}
SECONDS_PER_QUESTION = 1e-6  # CPU seconds per iteration


@dataclass(frozen=True)
class IntermediateTables:
    """Tables that the jobs pass to each other, in a folder that is removed when the stage is done."""

    folder: str
    setup: AggregateSetup

    def table(self, name: str) -> str:
        """Return the folder of one of INTERMEDIATE."""
        return files.join(self.folder, name)

    def counts(self, iteration: int) -> str:
        """Return the folder of the expected counts that the model of an iteration, from 1, is estimated from."""
        return files.join(self.folder, f"counts-{iteration:04d}")

    def shards(self, name: str) -> list[tuple[int, list[Shard]]]:
        """Return the shards of one of INTERMEDIATE by bucket."""
        manifest = directory.read_manifest(self.table(name))
        return list(directory.by_bucket(manifest.shards, self.buckets(name)).items())

    def buckets(self, name: str) -> int:
        """Return the number of buckets of one of INTERMEDIATE."""
        return 1 if name == "agreement" else self.setup.buckets

    def clamped(self, gold: np.ndarray) -> np.ndarray:
        """Return the known answers that the posterior is clamped to: none for majority, which gold does not change."""
        return np.full_like(gold, UNKNOWN) if self.setup.config.method == "majority" else gold

    def model(self, iteration: int) -> DawidSkeneModel:
        """Estimate the model of an iteration."""
        return DawidSkeneModel(read_counts(self.counts(iteration)), self.setup.config.smoothing)


def remove_intermediate_tables(folder: str) -> None:
    """Remove all tables in the folder of IntermediateTables, and the folder."""
    for name, size in files.entries(folder).items():
        if size is None:
            commit.remove_table(files.join(folder, name))
    files.remove_empty_folder(folder)


@dataclass(frozen=True)
class DistributedDawidSkene:
    """All jobs of the aggregate stage, one after the other."""

    setup: AggregateSetup
    stage: Stage
    output: str
    questions: int
    beam_arguments: list[str]
    check: Callable[[str, dict[str, Manifest]], object]
    """Raises DataError for (folder of rejections, tables by name) if votes were lost or too many were rejected."""

    def run(self, force: bool) -> None:
        """Run the jobs whose results are missing. Raises UsageError for a Dataflow template, which is a single job."""
        if beam_options(self.beam_arguments).view_as(GoogleCloudOptions).template_location:
            raise UsageError(
                "a template starts one job, but distributed Dawid-Skene runs many; run the aggregate stage from the "
                "command line, or raise aggregate.distribute_above"
            )
        config = self.setup.config
        tables = IntermediateTables(Layout(self.output).aggregate_distributed_em, self.setup)
        if force or not self.stage.is_done(*map(tables.table, INTERMEDIATE), tables.counts(1)):
            remove_intermediate_tables(tables.folder)
            self._run_job("validate-votes", StoreValidVotes(tables), 20)
        stored = {name: directory.read_manifest(tables.table(name)) for name in INTERMEDIATE}
        self.check(tables.table("rejections"), stored | {"verdicts": stored["votes"]})  # before the long part
        votes = counts(directory.read_manifest(tables.table("votes"))).get("votes", 0)
        monitor = ConvergenceMonitor(votes, MethodSettings().tolerance)
        for iteration in range(1, config.max_iterations + 1):
            following = tables.counts(iteration + 1)
            if not self.stage.is_done(following):
                self._run_job("em-iteration", EmIteration(tables, iteration), 1)
            if monitor.update(read_counts(following).log_likelihood):
                break
        finish = partial(self.check, self.setup.folders["rejections"])
        self._run_job("aggregate", WriteResults(tables, iteration, finish), 5)

    def _run_job(self, name: str, job: beam.PTransform, cost: float) -> None:
        """Run a job that costs as much as `cost` iterations."""
        seconds = cost * SECONDS_PER_QUESTION * self.questions
        work = JobSpec(name, self.output, "buckets", self.setup.buckets, seconds)
        label = name.title().replace("-", "")
        run_job(lambda pipeline: pipeline | label >> job, self.beam_arguments, work)


class StoreValidVotes(beam.PTransform):
    """Vote files → valid votes by bucket, rejections, agreement, and the expected counts of the initial posteriors."""

    def __init__(self, tables: IntermediateTables) -> None:
        super().__init__()
        self.tables = tables

    def expand(self, pipeline: beam.Pipeline) -> None:
        """Validate once; all iterations read the stored votes."""
        tables, setup = self.tables, self.tables.setup
        validated = pipeline | "Validate" >> ValidateVotes(
            replace(setup, folders={name: tables.table(name) for name in INTERMEDIATE}),
            shards_by_bucket(pipeline, setup.retrievals, setup.buckets),
        )
        store = beam.ParDo(StoreBucket(tables)).with_outputs("expected", main="written")
        stored = validated.valid | "StoreBucket" >> store
        agreement = (
            validated.patterns
            | "AddPatterns" >> beam.CombineGlobally(AddCounts())
            | "WriteAgreement"
            >> beam.Map(write_agreement, tables.table("agreement"), setup.config.unsure_offered)
        )
        # The counts of votes belong to the verdict table; until the last job writes it, they are kept with the votes.
        written = validated.written | "CountVotes" >> beam.MapTuple(
            lambda name, written: ("votes" if name == "verdicts" else name, written)
        )
        committed = {name: (tables.table(name), table.name) for name, table in INTERMEDIATE.items()}
        _ = (
            (stored.written, written, agreement)
            | "Written" >> beam.Flatten()
            | CommitTables(Commit(committed, setup.about))
        )
        _ = stored.expected | "StoreCounts" >> StoreExpectedCounts(tables.counts(1), setup.about)


class StoreBucket(beam.DoFn):
    """Valid votes of a bucket → their shard, and the expected counts of their initial posteriors."""

    def __init__(self, tables: IntermediateTables) -> None:
        self.tables = tables

    def process(self, element: tuple[int, VoteColumns]) -> Iterator[Any]:
        """Store the votes with the gold answers of their questions."""
        index, votes = element
        setup = self.tables.setup
        gold = gold_codes(votes.questions, setup.gold)
        stem = directory.shard_stem("part", index, setup.buckets)
        rows = votes.to_valid_votes(gold)
        yield "votes", Written(write_shard(self.tables.table("votes"), stem, VALID_VOTE.schema, [rows]))
        matrix = votes.matrix()
        counted = expected_counts(matrix, votes.workers, initial_posterior(matrix, self.tables.clamped(gold)))
        yield beam.pvalue.TaggedOutput("expected", (index, counted))


class ReadStoredVotes(beam.DoFn):
    """Base of the steps that read stored votes and apply the model of an iteration."""

    def __init__(self, tables: IntermediateTables, iteration: int) -> None:
        self.tables, self.iteration = tables, iteration

    def setup(self) -> None:
        """Load the model once per worker process."""
        self.model = self.tables.model(self.iteration)

    def read(
        self, shards: list[Shard], columns: list[str] | None
    ) -> Iterator[tuple[VoteColumns, np.ndarray]]:
        """Yield the votes of a bucket and the gold answers of its questions; nothing for an empty bucket."""
        for shard in shards:
            yield decode_valid_votes(directory.read_shard(self.tables.table("votes"), shard, columns))
        advance(1)


class EStepBucket(ReadStoredVotes):
    """Expected counts of a bucket by the model of an iteration."""

    def process(self, element: tuple[int, list[Shard]]) -> Iterator[tuple[int, ExpectedCounts]]:
        """Read only the columns that the E-step needs."""
        index, shards = element
        for votes, gold in self.read(shards, ["question", "known", "worker_id", "answer"]):
            matrix = votes.matrix()
            known = self.tables.clamped(gold)
            posterior, log_likelihood = self.model.posterior(matrix, votes.workers, known)
            yield index, expected_counts(matrix, votes.workers, posterior, log_likelihood)


class DecideByModel(ReadStoredVotes):
    """Verdicts of a bucket by the model of the last iteration, and its worker sums."""

    def process(self, element: tuple[int, list[Shard]], error_model: ErrorModel | None) -> Iterator[Any]:
        """Write one shard of verdicts."""
        index, shards = element
        setup, config = self.tables.setup, self.tables.setup.config
        for votes, gold in self.read(shards, None):
            known = self.tables.clamped(gold)
            posterior, _ = self.model.posterior(votes.matrix(), votes.workers, known)
            if config.method == "majority":
                table = majority_with_posterior(votes, posterior, config.min_votes)
            else:
                table = verdicts_of_posterior(votes, posterior, config.min_votes, config.min_confidence, gold)
            table, metrics = complete_verdicts(table, votes, setup, error_model)
            yield "verdicts", metrics
            yield from sample_verdicts(table, votes, setup, index)
            yield from write_verdicts(table, setup, index)
            yield beam.pvalue.TaggedOutput("workers", (index, worker_sums(votes, gold)))


class SampleStoredVotes(ReadStoredVotes):
    """The questions of a bucket that the error model is fitted to."""

    def setup(self) -> None:
        """Load no model."""

    def process(self, element: tuple[int, list[Shard]]) -> Iterator[bytes]:
        """Output a packed table."""
        index, shards = element
        sample = SampleImages(self.tables.setup)
        columns = ["question", *QUESTION, "known", "worker_id", "answer"]
        for votes, _ in self.read(shards, columns):
            yield from sample.process((index, votes))


class EmIteration(beam.PTransform):
    """Expected counts of one iteration → those of the next."""

    def __init__(self, tables: IntermediateTables, iteration: int) -> None:
        super().__init__()
        self.tables, self.iteration = tables, iteration

    def expand(self, pipeline: beam.Pipeline) -> None:
        """E-step by bucket, then the sum over buckets."""
        tables = self.tables
        _ = (
            pipeline
            | "Buckets" >> beam.Create(tables.shards("votes"))
            | "EStepBucket" >> beam.ParDo(EStepBucket(tables, self.iteration))
            | "StoreCounts" >> StoreExpectedCounts(tables.counts(self.iteration + 1), tables.setup.about)
        )


class WriteResults(beam.PTransform):
    """The model of the last iteration and the intermediate tables → the tables of the stage, committed."""

    def __init__(
        self, tables: IntermediateTables, iteration: int, finish: Callable[[dict[str, Manifest]], object]
    ) -> None:
        super().__init__()
        self.tables, self.iteration, self.finish = tables, iteration, finish

    def expand(self, pipeline: beam.Pipeline) -> None:
        """Decide verdicts by bucket; copy rejections and agreement."""
        tables, setup = self.tables, self.tables.setup
        stored = pipeline | "Buckets" >> beam.Create(tables.shards("votes"))
        samples = stored | "SampleImages" >> beam.ParDo(SampleStoredVotes(tables, self.iteration))
        fitted = beam.pvalue.AsSingleton(samples | "ErrorModel" >> FitErrorModel(setup))
        decide = beam.ParDo(DecideByModel(tables, self.iteration), fitted)
        decided = stored | "DecideByModel" >> decide.with_outputs(
            "workers", "verdicts", "samples", main="written"
        )
        error_model = decided.samples | "WriteErrorModel" >> WriteErrorModel(setup, fitted)
        has_skill = setup.config.method == "dawid-skene"
        joint = JointResults(tables.model(self.iteration).skill() if has_skill else {})
        gold_votes = pipeline | "GoldVotes" >> beam.Create(tables.shards("gold_votes"))
        workers = (
            (decided.workers, gold_votes | "SumGoldVotes" >> beam.FlatMap(read_gold_sums, tables))
            | "WorkerSums" >> beam.Flatten()
            | "AddWorkers" >> AddInOrder(add_worker_sums)
            | "WriteWorkers" >> beam.Map(write_workers, setup.folders["workers"], joint)
        )
        questions = shards_by_bucket(pipeline, setup.retrievals, setup.buckets)
        measure = MeasureRetrievalPrecision(setup.retrievals, setup.folders["retrieval_precision"])
        precision = {"verdicts": decided.verdicts, "shards": questions} | "RetrievalPrecision" >> measure
        copies = [
            (name, *part)
            for name in ("rejections", "agreement", "gold_votes")
            for part in tables.shards(name)
        ]
        copied = pipeline | "Copies" >> beam.Create(copies) | "CopyShard" >> beam.Map(copy_shard, tables)
        counted = [
            (name, Written(None, Counter(counts(directory.read_manifest(tables.table(table))))))
            for name, table in (("verdicts", "votes"), ("rejections", "rejections"))
        ]
        counted_before = pipeline | "CountedBefore" >> beam.Create(counted)
        written = (
            decided.written,
            error_model,
            workers,
            precision,
            copied,
            counted_before,
        ) | "Written" >> beam.Flatten()
        committed = {name: (setup.folders[name], table.name) for name, table in TABLES.items()}
        _ = written | CommitTables(Commit(committed, setup.about, self.finish))


def read_gold_sums(
    part: tuple[int, list[Shard]], tables: IntermediateTables
) -> Iterator[tuple[int, pd.DataFrame]]:
    """Yield the worker sums of the votes on clean images of a bucket."""
    index, shards = part
    for shard in shards:
        yield index, gold_vote_sums(directory.read_shard(tables.table("gold_votes"), shard))


def copy_shard(part: tuple[str, int, list[Shard]], tables: IntermediateTables) -> tuple[str, Written]:
    """Stage one bucket of an intermediate table for the table of the same name in the stage."""
    name, index, shards = part
    table = directory.read_bucket(tables.table(name), shards, INTERMEDIATE[name].schema)
    stem = directory.shard_stem("part", index, tables.buckets(name))
    folder = tables.setup.folders[name]
    return name, Written(write_shard(folder, stem, INTERMEDIATE[name].schema, [table]))
