"""The aggregate job: vote files → verdicts, workers, agreement, retrieval precision and rejections."""

from collections.abc import Callable
from functools import partial

import apache_beam as beam
import pyarrow as pa
from pyarrow import compute as pc

from common.errors import DataError
from pipeline import files
from pipeline.aggregate.gold import read_gold
from pipeline.aggregate.readers.votes import check_votes_readable, votes_digest
from pipeline.aggregate.workers import add_worker_sums
from pipeline.config import BuildConfig
from pipeline.ingest.rows import SMALLEST_BUCKETS
from pipeline.jobs.distributed_em import DistributedDawidSkene, remove_intermediate_tables
from pipeline.jobs.gather import GatherAll
from pipeline.jobs.ordered_sums import AddInOrder
from pipeline.jobs.retrieval_precision import MeasureRetrievalPrecision
from pipeline.jobs.tables import AddCounts, Commit, CommitTables
from pipeline.jobs.validate_votes import TABLES, AggregateSetup, ValidateVotes, shards_by_bucket
from pipeline.jobs.verdicts import (
    DecideByMajority,
    DecideJointly,
    FitErrorModel,
    SampleImages,
    WriteErrorModel,
    without_times,
    write_agreement,
    write_workers,
)
from pipeline.keyed_hash import bucket_count
from pipeline.layout import Layout
from pipeline.running.rejection_limit import check_share
from pipeline.running.run import JobSpec, run_job
from pipeline.running.stage import Stage, StageResult, counts, manifest_digest
from pipeline.shards import commit, directory
from schemas.manifest import Manifest

SECONDS_PER_QUESTION = 2e-5  # CPU seconds for the votes on a question
QUESTIONS_PER_BUCKET = 1 << 16  # votes are small, so a bucket of questions spans many image shards


def check_inputs(config: BuildConfig) -> None:
    """Read the first batch of every vote file, and the gold list. Raises DataError if one is unreadable or empty."""
    for name in config.votes:
        check_votes_readable(files.join(config.source, name))
    if config.aggregate.gold:
        _read_gold(config)


def _read_gold(config: BuildConfig) -> pa.Table | None:
    if not config.aggregate.gold:
        return None
    path = files.join(config.source, config.aggregate.gold)
    return read_gold(path, config.aggregate.answer_words, config.classes)


def stage_of(config: BuildConfig, output: str) -> Stage:
    """Return the stage for the present inputs and configuration. Raises DataError if ingest has not been run."""
    names = {name: name for name in config.votes} | (
        {"gold": config.aggregate.gold} if config.aggregate.gold else {}
    )
    digests = {key: votes_digest(files.join(config.source, name)) for key, name in names.items()}
    tables = {
        "retrievals": manifest_digest(Layout(output).retrievals),
        "without_image": directory.read_manifest(Layout(output).rejections).about.get("content", ""),
    }
    return Stage("aggregate", {**tables, **digests}, config)


def run(config: BuildConfig, output: str, beam_arguments: list[str], force: bool = False) -> StageResult:
    """Run the stage unless it is up to date.

    Raises DataError if a vote file is unreadable or empty, or if too many votes were rejected.
    """
    layout = Layout(output)
    retrievals, folders = layout.retrievals, layout.aggregate_tables
    paths = {name: files.join(config.source, name) for name in config.votes}
    stage = stage_of(config, output)
    up_to_date = not force and stage.is_done(*folders.values())
    if not up_to_date:
        check_inputs(config)
        asked = directory.read_manifest(retrievals)
        buckets = min(
            bucket_count(asked.rows, QUESTIONS_PER_BUCKET, SMALLEST_BUCKETS), asked.about["buckets"]
        )
        questions = _count_questions(retrievals)
        setup = AggregateSetup(
            tuple(paths.items()),
            retrievals,
            config.aggregate,
            config.classes if config.aggregate.class_answers else (),
            config.classes,
            layout.rejections,
            config.seed,
            _read_gold(config),
            folders,
            buckets,
            questions,
            {**stage.about, "buckets": buckets},
        )
        for folder in folders.values():
            commit.prepare(folder)
        checked = partial(check, config)
        if config.aggregate.is_distributed(questions):
            DistributedDawidSkene(setup, stage, output, questions, beam_arguments, checked).run(force)
        else:
            finish = partial(checked, folders["rejections"])
            work = JobSpec("aggregate", output, "buckets", buckets, SECONDS_PER_QUESTION * questions)
            run_job(
                lambda pipeline: pipeline | "Aggregate" >> AggregateVotes(setup, finish), beam_arguments, work
            )
    intermediate = layout.aggregate_distributed_em
    # Those of an interrupted run with another configuration stay while nothing has replaced it: it can be resumed.
    if not up_to_date or stage.is_done(files.join(intermediate, "votes")):
        remove_intermediate_tables(intermediate)
    manifests = {name: directory.read_manifest(folder) for name, folder in folders.items()}
    if up_to_date:
        check(config, folders["rejections"], manifests)
    return StageResult(manifests, up_to_date)


def _count_questions(retrievals: str) -> int:
    """Return the number of web rows of the retrieval table; clean and test images are not asked about."""
    parts = directory.read_shards(retrievals, ["source"])
    return sum(pc.sum(pc.equal(part["source"], "web")).as_py() or 0 for part in parts)


class AggregateVotes(beam.PTransform):
    """The whole stage as one transform, from a pipeline to its committed tables."""

    def __init__(self, setup: AggregateSetup, finish: Callable[[dict[str, Manifest]], object]) -> None:
        super().__init__()
        self.setup, self.finish = setup, finish

    def expand(self, pipeline: beam.Pipeline) -> None:
        """Validate votes by bucket, decide verdicts by bucket or jointly, write and commit the tables."""
        setup, folders = self.setup, self.setup.folders
        questions = shards_by_bucket(pipeline, setup.retrievals, setup.buckets)
        validated = pipeline | "Validate" >> ValidateVotes(setup, questions)
        samples = validated.valid | "SampleImages" >> beam.ParDo(SampleImages(setup))
        fitted = beam.pvalue.AsSingleton(samples | "ErrorModel" >> FitErrorModel(setup))
        if setup.config.needs_all_votes:
            decide = beam.ParDo(DecideJointly(setup), fitted).with_outputs(
                "verdicts", "samples", "joint", main="written"
            )
            decided = (
                validated.valid
                | "DropTimes" >> beam.Map(without_times)
                | "GatherVotes" >> GatherAll()
                | "DecideJointly" >> decide
            )
            joint = [beam.pvalue.AsSingleton(decided.joint)]
        else:
            decide = beam.ParDo(DecideByMajority(setup), fitted).with_outputs(
                "verdicts", "samples", main="written"
            )
            decided, joint = validated.valid | "DecideByMajority" >> decide, []
        workers = (
            validated.workers
            | "AddWorkers" >> AddInOrder(add_worker_sums)
            | "WriteWorkers" >> beam.Map(write_workers, folders["workers"], *joint)
        )
        agreement = (
            validated.patterns
            | "AddPatterns" >> beam.CombineGlobally(AddCounts())
            | "WriteAgreement"
            >> beam.Map(write_agreement, folders["agreement"], setup.config.unsure_offered, *joint)
        )
        measure = MeasureRetrievalPrecision(setup.retrievals, folders["retrieval_precision"])
        precision = {"verdicts": decided.verdicts, "shards": questions} | "RetrievalPrecision" >> measure
        error_model = decided.samples | "WriteErrorModel" >> WriteErrorModel(setup, fitted)
        written = (
            decided.written,
            error_model,
            validated.written,
            workers,
            agreement,
            precision,
        ) | "Written" >> beam.Flatten()
        tables = {name: (folders[name], table.name) for name, table in TABLES.items()}
        _ = written | CommitTables(Commit(tables, setup.about, self.finish))


def check(config: BuildConfig, rejections: str, manifests: dict[str, Manifest]) -> None:
    """Raise DataError if votes were lost, or if more than `aggregate.max_rejected_share` were rejected."""
    found = counts(manifests["verdicts"])
    # An answer that names a class becomes one vote for each class asked about.
    votes_in = found.get("votes_in", 0) + found.get("added_by_class_answers", 0)
    valid = found.get("votes", 0) + manifests["gold_votes"].rows
    votes_out = valid + sum(counts(manifests["rejections"]).values())
    if votes_out != votes_in:
        raise DataError(
            f"{votes_in} votes were read, but {votes_out} are counted as valid or rejected; run the stage again with --force"
        )
    expected = {"image_rejected", "skipped_answer"}
    if config.aggregate.repeated_votes != "reject":
        expected.add("duplicate_vote")
    limit = config.aggregate.max_rejected_share
    check_share("aggregate", manifests["rejections"], rejections, votes_in, limit, "votes", expected)
