"""The label job: votes → verdicts, workers, agreement, rejections. Votes travel as Arrow batches, not one by one."""

import apache_beam as beam

from pipeline import files
from pipeline.config import BuildConfig
from pipeline.ingest.rows import SMALLEST_BUCKETS
from pipeline.jobs.judge import JudgeAll, JudgeBucket, without_times, write_agreement, write_workers
from pipeline.jobs.passes import Passes
from pipeline.jobs.precision import MeasurePrecision
from pipeline.jobs.settle import LabelSetup, SettleVotes
from pipeline.jobs.tables import CommitTable
from pipeline.keyed_hash import bucket_count
from pipeline.labels.gold import read_gold
from pipeline.labels.readers.votes import check_votes_readable
from pipeline.layout import Layout
from pipeline.running.rejection_limit import check_share
from pipeline.running.run import Work, run_job
from pipeline.running.stage import Stage, StageResult, counts, manifest_digest
from pipeline.shards import directory
from schemas.agreement import AGREEMENT
from schemas.errors import DataError
from schemas.precision import PRECISION
from schemas.rejection import REJECTION
from schemas.verdict import VERDICT
from schemas.worker import WORKER

SECONDS_PER_QUESTION = 2e-5  # of a core, for its votes
QUESTIONS_PER_BUCKET = 1 << 16  # votes are small: a bucket of them spans many shards of pictures

TABLES = {
    "verdicts": VERDICT,
    "workers": WORKER,
    "agreement": AGREEMENT,
    "precision": PRECISION,
    "rejections": REJECTION,
}


def check_inputs(config: BuildConfig) -> None:
    """Read the beginning of every vote file, and the gold list. Raises DataError."""
    for name in config.votes:
        check_votes_readable(files.join(config.source, name))
    if config.label.gold:
        read_gold(files.join(config.source, config.label.gold))


def run(config: BuildConfig, output: str, beam_arguments: list[str], force: bool = False) -> StageResult:
    """Run the stage unless it is up to date.

    Raises DataError if a vote file is unreadable or empty, or if too many votes were rejected.
    """
    layout = Layout(output)
    retrievals, places = layout.retrievals, layout.label_tables
    paths = {name: files.join(config.source, name) for name in config.votes}
    gold = files.join(config.source, config.label.gold) if config.label.gold else None
    stage = Stage(
        "label",
        {
            "retrievals": manifest_digest(retrievals),
            **{name: files.sha256(path) for name, path in paths.items()},
            **({"gold": files.sha256(gold)} if gold else {}),
        },
        config,
    )
    up_to_date = not force and stage.is_done(*places.values())
    if not up_to_date:
        check_inputs(config)
        asked = directory.read_manifest(retrievals)
        buckets = min(
            bucket_count(asked.rows, QUESTIONS_PER_BUCKET, SMALLEST_BUCKETS), asked.about["buckets"]
        )
        setup = LabelSetup(
            tuple(paths.items()),
            retrievals,
            config.label,
            config.classes if config.label.choices else (),
            config.seed,
            read_gold(gold) if gold else None,
            places,
            buckets,
            {**stage.about, "buckets": buckets},
        )
        if config.label.in_passes(asked.rows):
            Passes(setup, stage, output, asked.rows, beam_arguments).run(force)
        else:
            for folder in places.values():
                directory.open_for_writing(folder)
            work = Work("label", output, "buckets", buckets, SECONDS_PER_QUESTION * asked.rows)
            run_job(lambda pipeline: pipeline | "Label" >> LabelVotes(setup), beam_arguments, work)
    manifests = {name: directory.read_manifest(folder) for name, folder in places.items()}
    votes_in = counts(manifests["verdicts"]).get("votes_in", 0)
    votes_out = counts(manifests["verdicts"]).get("votes", 0) + sum(counts(manifests["rejections"]).values())
    if votes_out != votes_in:
        raise DataError(f"{votes_in} votes went in and {votes_out} came out; run again with --force")
    limit = config.label.max_rejected_share
    check_share(manifests["rejections"], places["rejections"], votes_in, limit, "votes")
    return StageResult(manifests, up_to_date)


class LabelVotes(beam.PTransform):
    """The whole stage as one transform, from a pipeline to five committed tables."""

    def __init__(self, setup: LabelSetup) -> None:
        super().__init__()
        self.setup = setup

    def expand(self, pipeline: beam.Pipeline) -> None:
        """Vote files → checked votes by bucket of their image → per bucket, or of all: verdicts, sums by worker."""
        setup, places = self.setup, self.setup.places
        settled = pipeline | "Settle" >> SettleVotes(setup)
        gather = beam.CombineGlobally(beam.combiners.ToListCombineFn())
        if setup.config.gathers:
            judged = (
                settled.kept
                | "LeaveOutTimes" >> beam.Map(without_times)
                | "GatherVotes" >> gather
                | "JudgeAll" >> beam.ParDo(JudgeAll(setup)).with_outputs("found", main="verdicts")
            )
            verdicts, found = judged.verdicts, [beam.pvalue.AsSingleton(judged.found)]
        else:
            verdicts, found = settled.kept | "JudgeBucket" >> beam.ParDo(JudgeBucket(setup)), []
        workers = (
            settled.sums
            | "GatherSums" >> gather
            | "WriteWorkers" >> beam.Map(write_workers, places["workers"], *found)
        )
        agreement = (
            settled.patterns
            | "GatherPatterns" >> gather
            | "WriteAgreement" >> beam.Map(write_agreement, places["agreement"], *found)
        )
        verdicts = (verdicts, settled.votes) | "CountVotes" >> beam.Flatten()
        measure = MeasurePrecision(setup.retrievals, places, setup.buckets)
        precision = verdicts | "Precision" >> measure
        for name, written in (
            ("precision", precision),
            ("workers", workers),
            ("agreement", agreement),
            ("rejections", settled.rejections),
            ("verdicts", verdicts),
        ):
            commit = CommitTable(places[name], TABLES[name].name, setup.about)
            _ = written | f"Commit{name.title()}" >> commit
