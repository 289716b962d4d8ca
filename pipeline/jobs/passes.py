"""Dawid-Skene where the votes do not fit in one worker: an iteration is a Beam job, a pass over all buckets.

The first job settles the votes and keeps those that count, by bucket; the last one writes verdicts and workers. What a
job leaves is committed by a manifest, so a stage that was killed goes on at the pass that it had reached. Cohen's
kappas are left out of the agreement: they compare all pairs of votes.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.options.pipeline_options import GoogleCloudOptions

from pipeline import files
from pipeline.jobs.judge import Found, write_agreement, write_verdicts, write_workers
from pipeline.jobs.precision import MeasurePrecision
from pipeline.jobs.settle import LabelSetup, SettleVotes
from pipeline.jobs.tables import CommitTable, Written
from pipeline.jobs.vote_sums import AddUp, read_sums
from pipeline.labels.columns import VoteColumns, read_settled
from pipeline.labels.consensus.passes import Model, Sums, first_posterior, sums_of
from pipeline.labels.consensus.settings import Climb
from pipeline.labels.judge import gold_codes, majority_with_posterior, settle_ties, verdicts_of_posterior
from pipeline.labels.workers import worker_sums
from pipeline.layout import Layout
from pipeline.running.options import beam_options
from pipeline.running.progress import advance
from pipeline.running.run import Work, run_job
from pipeline.running.stage import Stage, counts
from pipeline.shards import directory
from pipeline.shards.parquet import write_shard
from schemas.agreement import AGREEMENT
from schemas.errors import UsageError
from schemas.precision import PRECISION
from schemas.rejection import REJECTION
from schemas.settled_vote import SETTLED_VOTE
from schemas.verdict import VERDICT
from schemas.worker import WORKER

JUDGED = {"verdicts": VERDICT.name, "workers": WORKER.name, "precision": PRECISION.name}
SECONDS_PER_QUESTION = 1e-6  # of a core, in one pass


@dataclass(frozen=True)
class Scratch:
    """What the jobs leave for each other, in a folder that goes when all are done."""

    folder: str
    setup: LabelSetup

    @property
    def votes(self) -> str:
        """The folder of the votes that count."""
        return files.join(self.folder, "votes")

    def sums(self, number: int) -> str:
        """The folder of the sums that the model of iteration `number`, from 1, is estimated from."""
        return files.join(self.folder, f"sums-{number:04d}")

    def model(self, number: int) -> Model:
        """The model of an iteration."""
        return Model(read_sums(self.sums(number)), self.setup.config.smoothing)


@dataclass(frozen=True)
class Passes:
    """All jobs of the stage, one after the other."""

    setup: LabelSetup
    stage: Stage
    output: str
    questions: int
    beam_arguments: list[str]

    def run(self, force: bool) -> None:
        """Run what is still to be run. Raises UsageError where only one job can be started."""
        if beam_options(self.beam_arguments).view_as(GoogleCloudOptions).template_location:
            raise UsageError(
                "a template starts one job, and Dawid-Skene in passes is many: "
                "start the label stage from the command line, or raise label.passes_above"
            )
        places, config = self.setup.places, self.setup.config
        scratch = Scratch(Layout(self.output).label_passes, self.setup)
        settled = (scratch.votes, scratch.sums(1), places["rejections"], places["agreement"])
        if force or not self.stage.is_done(*settled):
            for folder in (scratch.folder, scratch.votes, *places.values()):
                directory.open_for_writing(folder)
            self._run_job("settle", KeepVotes(scratch), 20)
        climb = Climb(counts(directory.read_manifest(scratch.votes)).get("votes", 0), config.tolerance)
        for number in range(1, config.max_iterations + 1):
            following = scratch.sums(number + 1)
            if not self.stage.is_done(following):
                self._run_job("pass", Pass(scratch, number), 1)
            if climb.step(read_sums(following).evidence):
                break
        for name in JUDGED:
            directory.open_for_writing(places[name])
        self._run_job("label", JudgeBuckets(scratch, number), 5)
        files.remove_folder(scratch.folder)

    def _run_job(self, name: str, job: beam.PTransform, passes: float) -> None:
        """Run a job that costs as much as so many passes."""
        seconds = passes * SECONDS_PER_QUESTION * self.questions
        work = Work(name, self.output, "buckets", self.setup.buckets, seconds)
        run_job(lambda pipeline: pipeline | name.title() >> job, self.beam_arguments, work)


class KeepVotes(beam.PTransform):
    """Vote files → the votes that count, kept by bucket; rejections, agreement, and the sums to begin with."""

    def __init__(self, scratch: Scratch) -> None:
        super().__init__()
        self.scratch = scratch

    def expand(self, pipeline: beam.Pipeline) -> None:
        """Settled once, read in every pass."""
        setup = self.scratch.setup
        settled = pipeline | "Settle" >> SettleVotes(setup)
        kept = settled.kept | "KeepBucket" >> beam.ParDo(KeepBucket(self.scratch)).with_outputs(
            "sums", main="votes"
        )
        agreement = (
            settled.patterns
            | "GatherPatterns" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
            | "WriteAgreement" >> beam.Map(write_agreement, setup.places["agreement"])
        )
        votes = (kept.votes, settled.votes) | "CountVotes" >> beam.Flatten()
        for folder, table, written in (
            (self.scratch.votes, SETTLED_VOTE, votes),
            (setup.places["rejections"], REJECTION, settled.rejections),
            (setup.places["agreement"], AGREEMENT, agreement),
        ):
            _ = written | f"Commit_{table.name}" >> CommitTable(folder, table.name, setup.about)
        _ = kept.sums | "AddUp" >> AddUp(self.scratch.sums(1), setup.about)


class KeepBucket(beam.DoFn):
    """Votes of a bucket → their shard, and their sums by the shares of votes."""

    def __init__(self, scratch: Scratch) -> None:
        self.scratch = scratch

    def process(self, element: tuple[int, VoteColumns]) -> Iterator[Any]:
        """Known answers are looked up once."""
        index, votes = element
        known = gold_codes(votes.questions, self.scratch.setup.gold)
        name = directory.shard_name("part", index, self.scratch.setup.buckets)
        yield Written(write_shard(self.scratch.votes, name, SETTLED_VOTE.schema, [votes.settled(known)]))
        matrix = votes.matrix()
        sums = sums_of(matrix, votes.workers, first_posterior(matrix, known))
        yield beam.pvalue.TaggedOutput("sums", (index, sums))


class ReadBucket(beam.DoFn):
    """What the steps that read the kept votes have in common."""

    def __init__(self, scratch: Scratch, number: int) -> None:
        self.scratch, self.number = scratch, number

    def setup(self) -> None:
        """Read once what all buckets look up."""
        self.manifest = directory.read_manifest(self.scratch.votes)
        self.model = self.scratch.model(self.number)

    def read(self, index: int, columns: list[str] | None) -> Iterator[tuple[VoteColumns, np.ndarray]]:
        """The votes of a bucket and the known answers of its questions; nothing where there are none."""
        buckets = self.scratch.setup.buckets
        for rows in directory.read_bucket(self.scratch.votes, index, buckets, columns, self.manifest):
            yield read_settled(rows)
        advance(1)


class PassBucket(ReadBucket):
    """The sums of a bucket's posterior by the model of an iteration."""

    def process(self, index: int) -> Iterator[tuple[int, Sums]]:
        """Only what the E-step needs is read."""
        for votes, known in self.read(index, ["question", "known", "worker_id", "answer"]):
            matrix = votes.matrix()
            posterior, evidence = self.model.posterior(matrix, votes.workers, known)
            yield index, sums_of(matrix, votes.workers, posterior, evidence)


class JudgeBucket(ReadBucket):
    """The verdicts of a bucket by the model of the last iteration, and its sums by worker."""

    def process(self, index: int) -> Iterator[Any]:
        """One shard of verdicts."""
        setup, config = self.scratch.setup, self.scratch.setup.config
        for votes, known in self.read(index, None):
            posterior, _ = self.model.posterior(votes.matrix(), votes.workers, known)
            if config.method == "majority":
                table = majority_with_posterior(votes, posterior, config.min_votes)
            else:
                least = (config.min_votes, config.min_confidence)
                table = verdicts_of_posterior(votes, posterior, *least, known)
            table = settle_ties(table, config.ties, config.min_votes, setup.seed)
            yield write_verdicts(table, setup, index)
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
            | "Buckets" >> beam.Create(range(self.scratch.setup.buckets))
            | "Spread" >> beam.Reshuffle()
            | "PassBucket" >> beam.ParDo(PassBucket(self.scratch, self.number))
            | "AddUp" >> AddUp(self.scratch.sums(self.number + 1), self.scratch.setup.about)
        )


class JudgeBuckets(beam.PTransform):
    """The model of the last iteration → verdicts, workers and precision, committed."""

    def __init__(self, scratch: Scratch, number: int) -> None:
        super().__init__()
        self.scratch, self.number = scratch, number

    def expand(self, pipeline: beam.Pipeline) -> None:
        """Every bucket by itself; sums by worker are those of the other methods."""
        setup = self.scratch.setup
        judged = (
            pipeline
            | "Buckets" >> beam.Create(range(setup.buckets))
            | "Spread" >> beam.Reshuffle()
            | "JudgeBucket"
            >> beam.ParDo(JudgeBucket(self.scratch, self.number)).with_outputs("sums", main="verdicts")
        )
        by_model = setup.config.method == "dawid-skene"
        found = Found(self.scratch.model(self.number).skill() if by_model else {})
        workers = (
            judged.sums
            | "GatherSums" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
            | "WriteWorkers" >> beam.Map(write_workers, setup.places["workers"], found)
        )
        counted = Written(None, Counter(counts(directory.read_manifest(self.scratch.votes))))
        votes = pipeline | "Votes" >> beam.Create([counted])
        verdicts = (judged.verdicts, votes) | "CountVotes" >> beam.Flatten()
        measure = MeasurePrecision(setup.retrievals, setup.places, setup.buckets)
        precision = verdicts | "Precision" >> measure
        for name, written in (("precision", precision), ("workers", workers), ("verdicts", verdicts)):
            commit = CommitTable(setup.places[name], JUDGED[name], setup.about)
            _ = written | f"Commit{name.title()}" >> commit
