"""Dawid-Skene where the votes do not fit in one worker: an iteration is a Beam job, a pass over all buckets.

The first job settles the votes and keeps those that count, by bucket; the last one writes verdicts and workers. What a
job leaves is committed by a manifest, so a stage that was killed goes on at the pass that it had reached. Cohen's
kappas are left out of the agreement: they compare all pairs of votes.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.options.pipeline_options import GoogleCloudOptions

from common.errors import UsageError
from pipeline import files
from pipeline.aggregate.columns import VoteColumns, read_settled
from pipeline.aggregate.consensus.passes import Model, Sums, first_posterior, sums_of
from pipeline.aggregate.consensus.settings import Climb
from pipeline.aggregate.judge import gold_codes, majority_with_posterior, settle_ties, verdicts_of_posterior
from pipeline.aggregate.workers import worker_sums
from pipeline.jobs.judge import Found, write_agreement, write_verdicts, write_workers
from pipeline.jobs.precision import MeasurePrecision
from pipeline.jobs.settle import TABLES, AggregateSetup, SettleVotes, shards_by_bucket
from pipeline.jobs.tables import AddCounts, Commit, CommitTables, Written
from pipeline.jobs.vote_sums import AddUp, read_sums
from pipeline.layout import Layout
from pipeline.running.options import beam_options
from pipeline.running.progress import advance
from pipeline.running.run import JobSpec, run_job
from pipeline.running.stage import Stage, counts
from pipeline.shards import commit, directory
from pipeline.shards.parquet import write_shard
from schemas.agreement import AGREEMENT
from schemas.manifest import Manifest, Shard
from schemas.rejection import REJECTION
from schemas.valid_vote import VALID_VOTE

SETTLED = {
    "votes": VALID_VOTE,
    "rejections": REJECTION,
    "agreement": AGREEMENT,
}  # that the first job writes
SECONDS_PER_QUESTION = 1e-6  # of a core, in one pass


@dataclass(frozen=True)
class Scratch:
    """What the jobs leave for each other, in a folder that goes when all are done."""

    folder: str
    setup: AggregateSetup

    def table(self, name: str) -> str:
        """Return the folder of a table that the first job writes: votes, rejections or agreement."""
        return files.join(self.folder, name)

    @property
    def votes(self) -> str:
        """The folder of the votes that count."""
        return self.table("votes")

    def remove(self) -> None:
        """Remove all tables in the folder, and the folder."""
        for name, size in files.entries(self.folder).items():
            if size is None:
                commit.remove_table(files.join(self.folder, name))
        files.remove_empty_folder(self.folder)

    def sums(self, number: int) -> str:
        """The folder of the sums that the model of iteration `number`, from 1, is estimated from."""
        return files.join(self.folder, f"sums-{number:04d}")

    def shards(self, name: str) -> list[tuple[int, list[Shard]]]:
        """Return the shards of a table that the first job has written, by bucket."""
        manifest = directory.read_manifest(self.table(name))
        buckets = 1 if name == "agreement" else self.setup.buckets
        return list(directory.by_bucket(manifest.shards, buckets).items())

    def model(self, number: int) -> Model:
        """The model of an iteration."""
        return Model(read_sums(self.sums(number)), self.setup.config.smoothing)


@dataclass(frozen=True)
class Passes:
    """All jobs of the stage, one after the other."""

    setup: AggregateSetup
    stage: Stage
    output: str
    questions: int
    beam_arguments: list[str]
    finish: Callable[[dict[str, Manifest]], object]

    def run(self, force: bool) -> None:
        """Run what is still to be run. Raises UsageError where only one job can be started."""
        if beam_options(self.beam_arguments).view_as(GoogleCloudOptions).template_location:
            raise UsageError(
                "a template starts one job, and Dawid-Skene in passes is many: "
                "start the aggregate stage from the command line, or raise aggregate.passes_above"
            )
        config = self.setup.config
        scratch = Scratch(Layout(self.output).aggregate_passes, self.setup)
        settled = (*map(scratch.table, SETTLED), scratch.sums(1))
        if force or not self.stage.is_done(*settled):
            scratch.remove()
            self._run_job("settle", KeepVotes(scratch), 20)
        climb = Climb(counts(directory.read_manifest(scratch.votes)).get("votes", 0), config.tolerance)
        for number in range(1, config.max_iterations + 1):
            following = scratch.sums(number + 1)
            if not self.stage.is_done(following):
                self._run_job("pass", Pass(scratch, number), 1)
            if climb.step(read_sums(following).evidence):
                break
        self._run_job("aggregate", JudgeBuckets(scratch, number, self.finish), 5)
        scratch.remove()

    def _run_job(self, name: str, job: beam.PTransform, passes: float) -> None:
        """Run a job that costs as much as so many passes."""
        seconds = passes * SECONDS_PER_QUESTION * self.questions
        work = JobSpec(name, self.output, "buckets", self.setup.buckets, seconds)
        run_job(lambda pipeline: pipeline | name.title() >> job, self.beam_arguments, work)


class KeepVotes(beam.PTransform):
    """Vote files → the votes that count, kept by bucket; rejections, agreement, and the sums to begin with."""

    def __init__(self, scratch: Scratch) -> None:
        super().__init__()
        self.scratch = scratch

    def expand(self, pipeline: beam.Pipeline) -> None:
        """Settled once, read in every pass."""
        scratch, setup = self.scratch, self.scratch.setup
        settled = pipeline | "Settle" >> SettleVotes(
            replace(setup, folders={name: scratch.table(name) for name in SETTLED}),
            shards_by_bucket(pipeline, setup.retrievals, setup.buckets),
        )
        kept = settled.kept | "KeepBucket" >> beam.ParDo(KeepBucket(scratch)).with_outputs(
            "sums", main="written"
        )
        agreement = (
            settled.patterns
            | "AddPatterns" >> beam.CombineGlobally(AddCounts())
            | "WriteAgreement"
            >> beam.Map(write_agreement, scratch.table("agreement"), setup.config.unsure_offered)
        )
        # The counts of all votes are kept with the votes, until the last job writes the verdicts.
        written = settled.written | "CountVotes" >> beam.MapTuple(
            lambda name, written: ("votes" if name == "verdicts" else name, written)
        )
        tables = {name: (scratch.table(name), table.name) for name, table in SETTLED.items()}
        _ = (
            (kept.written, written, agreement)
            | "Written" >> beam.Flatten()
            | CommitTables(Commit(tables, setup.about))
        )
        _ = kept.sums | "AddUp" >> AddUp(scratch.sums(1), setup.about)


class KeepBucket(beam.DoFn):
    """Votes of a bucket → their shard, and their sums by the shares of votes."""

    def __init__(self, scratch: Scratch) -> None:
        self.scratch = scratch

    def process(self, element: tuple[int, VoteColumns]) -> Iterator[Any]:
        """Known answers are looked up once."""
        index, votes = element
        known = gold_codes(votes.questions, self.scratch.setup.gold)
        stem = directory.shard_stem("part", index, self.scratch.setup.buckets)
        shard = write_shard(self.scratch.votes, stem, VALID_VOTE.schema, [votes.settled(known)])
        yield "votes", Written(shard)
        matrix = votes.matrix()
        sums = sums_of(matrix, votes.workers, first_posterior(matrix, known))
        yield beam.pvalue.TaggedOutput("sums", (index, sums))


class ReadBucket(beam.DoFn):
    """What the steps that read the kept votes have in common."""

    def __init__(self, scratch: Scratch, number: int) -> None:
        self.scratch, self.number = scratch, number

    def setup(self) -> None:
        """Read the model once."""
        self.model = self.scratch.model(self.number)

    def read(
        self, shards: list[Shard], columns: list[str] | None
    ) -> Iterator[tuple[VoteColumns, np.ndarray]]:
        """Yield the votes of a bucket and the known answers of its questions; nothing where there are none."""
        for shard in shards:
            yield read_settled(directory.read_shard(self.scratch.votes, shard, columns))
        advance(1)


class PassBucket(ReadBucket):
    """The sums of a bucket's posterior by the model of an iteration."""

    def process(self, element: tuple[int, list[Shard]]) -> Iterator[tuple[int, Sums]]:
        """Only what the E-step needs is read."""
        index, shards = element
        for votes, known in self.read(shards, ["question", "known", "worker_id", "answer"]):
            matrix = votes.matrix()
            posterior, evidence = self.model.posterior(matrix, votes.workers, known)
            yield index, sums_of(matrix, votes.workers, posterior, evidence)


class JudgeBucket(ReadBucket):
    """The verdicts of a bucket by the model of the last iteration, and its sums by worker."""

    def process(self, element: tuple[int, list[Shard]]) -> Iterator[Any]:
        """Write one shard of verdicts."""
        index, shards = element
        setup, config = self.scratch.setup, self.scratch.setup.config
        for votes, known in self.read(shards, None):
            posterior, _ = self.model.posterior(votes.matrix(), votes.workers, known)
            if config.method == "majority":
                table = majority_with_posterior(votes, posterior, config.min_votes)
            else:
                least = (config.min_votes, config.min_confidence)
                table = verdicts_of_posterior(votes, posterior, *least, known)
            table = settle_ties(table, config.ties, config.min_votes, setup.seed)
            yield from write_verdicts(table, setup, index)
            yield beam.pvalue.TaggedOutput("sums", worker_sums(votes))


class Pass(beam.PTransform):
    """The sums of one iteration → those of the next."""

    def __init__(self, scratch: Scratch, number: int) -> None:
        super().__init__()
        self.scratch, self.number = scratch, number

    def expand(self, pipeline: beam.Pipeline) -> None:
        """Every bucket by itself, then all of them."""
        _ = (
            pipeline
            | "Buckets" >> beam.Create(self.scratch.shards("votes"))
            | "Spread" >> beam.Reshuffle()
            | "PassBucket" >> beam.ParDo(PassBucket(self.scratch, self.number))
            | "AddUp" >> AddUp(self.scratch.sums(self.number + 1), self.scratch.setup.about)
        )


class JudgeBuckets(beam.PTransform):
    """The model of the last iteration, and what the first job has left → the five tables of the stage, committed."""

    def __init__(
        self, scratch: Scratch, number: int, finish: Callable[[dict[str, Manifest]], object]
    ) -> None:
        super().__init__()
        self.scratch, self.number, self.finish = scratch, number, finish

    def expand(self, pipeline: beam.Pipeline) -> None:
        """Every bucket by itself; sums by worker are those of the other methods."""
        scratch, setup = self.scratch, self.scratch.setup
        judge = beam.ParDo(JudgeBucket(scratch, self.number))
        judged = (
            pipeline
            | "Buckets" >> beam.Create(scratch.shards("votes"))
            | "Spread" >> beam.Reshuffle()
            | "JudgeBucket" >> judge.with_outputs("sums", "judged", main="written")
        )
        by_model = setup.config.method == "dawid-skene"
        found = Found(scratch.model(self.number).skill() if by_model else {})
        workers = (
            judged.sums
            | "GatherSums" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
            | "WriteWorkers" >> beam.Map(write_workers, setup.folders["workers"], found)
        )
        counted = Written(None, Counter(counts(directory.read_manifest(scratch.votes))))
        votes = pipeline | "Votes" >> beam.Create([("verdicts", counted)])
        questions = shards_by_bucket(pipeline, setup.retrievals, setup.buckets)
        measure = MeasurePrecision(setup.retrievals, setup.folders["precision"])
        precision = {"judged": judged.judged, "shards": questions} | "Precision" >> measure
        copied = (
            pipeline
            | "Settled"
            >> beam.Create(
                [(name, *part) for name in ("rejections", "agreement") for part in scratch.shards(name)]
            )
            | "CopyShard" >> beam.Map(copy_shard, scratch)
        )
        counted_rejections = Counter(counts(directory.read_manifest(scratch.table("rejections"))))
        rejections = pipeline | "Rejections" >> beam.Create(
            [("rejections", Written(None, counted_rejections))]
        )
        written = (
            judged.written,
            votes,
            workers,
            precision,
            copied,
            rejections,
        ) | "Written" >> beam.Flatten()
        tables = {name: (setup.folders[name], table.name) for name, table in TABLES.items()}
        _ = written | CommitTables(Commit(tables, setup.about, self.finish))


def copy_shard(part: tuple[str, int, list[Shard]], scratch: Scratch) -> tuple[str, Written]:
    """Stage again, for the table of the stage, what the first job has written of a bucket."""
    name, index, shards = part
    table = directory.read_bucket(scratch.table(name), shards, SETTLED[name].schema)
    buckets = 1 if name == "agreement" else scratch.setup.buckets
    stem = directory.shard_stem("part", index, buckets)
    return name, Written(write_shard(scratch.setup.folders[name], stem, SETTLED[name].schema, [table]))
