"""The label job: votes → verdicts, workers, agreement, rejections. Votes travel as Arrow batches, not one by one."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa

from pipeline import files
from pipeline.config import BuildConfig, LabelConfig
from pipeline.jobs import ingest
from pipeline.jobs.judge import (
    JudgeAll,
    JudgeBucket,
    SettleBucket,
    without_times,
    write_agreement,
    write_workers,
)
from pipeline.jobs.precision import MeasurePrecision
from pipeline.jobs.run import Work, run_job
from pipeline.jobs.stage import Stage, counts, manifest_digest, plain
from pipeline.jobs.tables import CommitTable, by_bucket, pack
from pipeline.keyed_hash import bucket_count, place
from pipeline.labels.columns import codes_of
from pipeline.labels.gold import read_gold
from pipeline.labels.readers.votes import check_votes_readable, read_votes
from pipeline.labels.votes import VOTE_ROWS, check_votes
from pipeline.rejections import check_share, malformed_rows
from pipeline.shards import directory
from schemas.agreement import AGREEMENT
from schemas.errors import DataError
from schemas.manifest import Manifest
from schemas.precision import PRECISION
from schemas.rejection import REJECTION
from schemas.verdict import VERDICT
from schemas.worker import WORKER

SECONDS_PER_QUESTION = 2e-5  # of a core, for its votes
QUESTIONS_PER_BUCKET = 1 << 16  # votes are small: a bucket of them spans many shards of pictures
ROWS_TOGETHER = 1 << 20  # votes of a file that are cut into buckets at once

TABLES = {
    "verdicts": VERDICT,
    "workers": WORKER,
    "agreement": AGREEMENT,
    "precision": PRECISION,
    "rejections": REJECTION,
}


def folders(output: str) -> dict[str, str]:
    """Where the stage writes its tables."""
    return {name: files.join(output, "labels", name) for name in TABLES}


def run(
    config: BuildConfig, output: str, beam_arguments: list[str], force: bool = False
) -> dict[str, Manifest]:
    """Run the stage unless it is up to date; return the manifests of its tables.

    Raises DataError if a vote file is unreadable or empty, or if too many votes were rejected.
    """
    retrievals = ingest.folders(output)["retrievals"]
    paths = {name: files.join(config.source, name) for name in config.votes}
    gold = files.join(config.source, config.label.gold) if config.label.gold else None
    stage = Stage(
        "label",
        {
            "retrievals": manifest_digest(retrievals),
            **{name: files.sha256(path) for name, path in paths.items()},
            **({"gold": files.sha256(gold)} if gold else {}),
        },
        # The seed decides nothing but ties.
        {
            **plain(config.label),
            "seed": config.seed if config.label.ties == "seeded" else None,
            "choices": config.classes if config.label.choices else (),
        },
    )
    places = folders(output)
    if force or not stage.is_done(*places.values()):
        for path in paths.values():
            check_votes_readable(path)
        for folder in places.values():
            directory.open_for_writing(folder)
        asked = directory.read_manifest(retrievals)
        buckets = min(
            bucket_count(asked.rows, QUESTIONS_PER_BUCKET, ingest.SMALLEST_BUCKETS), asked.about["buckets"]
        )
        job = LabelVotes(
            list(paths.items()),
            retrievals,
            config.label,
            config.classes if config.label.choices else (),
            config.seed,
            read_gold(gold) if gold else None,
            places,
            buckets,
            stage.about,
        )
        work = Work("label", output, "buckets", buckets, SECONDS_PER_QUESTION * asked.rows)
        run_job(lambda pipeline: pipeline | "Label" >> job, beam_arguments, work)
    manifests = {name: directory.read_manifest(folder) for name, folder in places.items()}
    votes_in = counts(manifests["verdicts"]).get("votes_in", 0)
    rejected = Counter(counts(manifests["rejections"]))
    kept = counts(manifests["verdicts"]).get("votes", 0)
    if kept + rejected.total() != votes_in:
        raise DataError(
            f"{votes_in} votes went in and {kept + rejected.total()} came out; run again with --force"
        )
    check_share(rejected, votes_in, config.label.max_rejected_share, "votes", places["rejections"])
    return manifests


class LabelVotes(beam.PTransform):
    """The whole stage as one transform, from a pipeline to five committed tables."""

    def __init__(
        self,
        paths: list[tuple[str, str]],
        retrievals: str,
        config: LabelConfig,
        choices: tuple[str, ...],
        seed: int,
        gold: pa.Table | None,
        places: dict[str, str],
        buckets: int,
        about: dict[str, Any],
    ) -> None:
        super().__init__()
        self.paths, self.retrievals, self.config, self.places = paths, retrievals, config, places
        self.choices = choices
        self.seed, self.gold, self.buckets, self.about = seed, gold, buckets, {**about, "buckets": buckets}

    def expand(self, pipeline: beam.Pipeline) -> None:
        """Vote files → checked votes by bucket of their image → per bucket, or of all: verdicts, sums by worker."""
        settled = (
            pipeline
            | "Files" >> beam.Create(self.paths)
            | "SpreadFiles" >> beam.Reshuffle()
            | "CheckVotes" >> beam.FlatMap(check_file, self.buckets, self.config.answers, self.choices)
            | "GatherBucket" >> beam.GroupByKey()
            | "SettleBucket"
            >> beam.ParDo(SettleBucket(self.retrievals, self.config, self.places, self.buckets)).with_outputs(
                "rejections", "sums", "patterns", "votes", main="kept"
            )
        )
        judge_alone = JudgeBucket(self.config, self.seed, self.places["verdicts"], self.buckets)
        judge_together = JudgeAll(self.config, self.seed, self.gold, self.places["verdicts"], self.buckets)
        gather = beam.CombineGlobally(beam.combiners.ToListCombineFn())
        if self.config.gathers:
            judged = (
                settled.kept
                | "LeaveOutTimes" >> beam.Map(without_times)
                | "GatherVotes" >> gather
                | "JudgeAll" >> beam.ParDo(judge_together).with_outputs("found", main="verdicts")
            )
            verdicts, found = judged.verdicts, [beam.pvalue.AsSingleton(judged.found)]
        else:
            verdicts, found = settled.kept | "JudgeBucket" >> beam.ParDo(judge_alone), []
        workers = (
            settled.sums
            | "GatherSums" >> gather
            | "WriteWorkers" >> beam.Map(write_workers, self.places["workers"], *found)
        )
        agreement = (
            settled.patterns
            | "GatherPatterns" >> gather
            | "WriteAgreement" >> beam.Map(write_agreement, self.places["agreement"], *found)
        )
        verdicts = (verdicts, settled.votes) | "CountVotes" >> beam.Flatten()
        measure = MeasurePrecision(self.retrievals, self.places, self.buckets)
        precision = verdicts | "Precision" >> measure
        for name, written in (
            ("precision", precision),
            ("workers", workers),
            ("agreement", agreement),
            ("rejections", settled.rejections),
            ("verdicts", verdicts),
        ):
            commit = CommitTable(self.places[name], TABLES[name].name, self.about)
            _ = written | f"Commit{name.title()}" >> commit


def check_file(
    name_and_path: tuple[str, str], buckets: int, words: dict[str, str] | None, choices: tuple[str, ...]
) -> Iterator[tuple[int, tuple[str, bytes]]]:
    """Read one vote file and yield (bucket, (kind, packed rows)), kind being "votes" or "rejections"."""
    name, path = name_and_path
    held: list[pa.Table] = []
    for records in read_votes(path, name):
        good, bad = check_votes(records.rows, words, choices)
        held.append(good)
        if sum(votes.num_rows for votes in held) >= ROWS_TOGETHER:
            yield from cut_votes(held, buckets)
            held = []
        rejected = pa.concat_tables([bad, malformed_rows(records.malformed)])
        if rejected.num_rows:
            yield 0, ("rejections", pack(rejected))
    yield from cut_votes(held, buckets)


def cut_votes(parts: list[pa.Table], buckets: int) -> Iterator[tuple[int, tuple[str, bytes]]]:
    """Votes by the bucket of their image; each image is hashed once."""
    votes = pa.concat_tables([VOTE_ROWS.empty_table(), *parts])
    codes, images = codes_of(votes["image_id"])
    places = place(images.to_pylist())[codes]
    for index, rows in by_bucket(votes, buckets, places):
        yield index, ("votes", pack(rows))
