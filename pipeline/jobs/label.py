"""The label job: votes → verdicts, workers, rejections. Votes travel as Arrow batches, not one by one."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline import files
from pipeline.config import BuildConfig
from pipeline.jobs import ingest
from pipeline.jobs.options import run_job
from pipeline.jobs.stage import Stage, counts, manifest_digest, plain
from pipeline.jobs.tables import CommitTable, Written, by_bucket
from pipeline.keyed_hash import place
from pipeline.labels.majority import majority
from pipeline.labels.votes import VOTE_ROWS, check_votes, settle_votes
from pipeline.labels.workers import worker_sums, worker_table
from pipeline.records import check_readable, read_records
from pipeline.rejections import check_share, malformed_rows
from pipeline.shards import directory
from pipeline.shards.parquet import write_shard
from schemas.errors import DataError
from schemas.manifest import Manifest
from schemas.rejection import REJECTION
from schemas.retrieval import RETRIEVAL
from schemas.verdict import VERDICT
from schemas.vote import VOTE
from schemas.worker import WORKER

SECONDS_PER_BUCKET = 0.05  # of a core, for some thousands of votes

TABLES = {"verdicts": VERDICT, "workers": WORKER, "rejections": REJECTION}


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
    stage = Stage(
        "label",
        {
            "retrievals": manifest_digest(retrievals),
            **{name: files.sha256(path) for name, path in paths.items()},
        },
        plain(config.label),
    )
    places = folders(output)
    if force or not stage.is_done(*places.values()):
        for path in paths.values():
            check_readable(path, VOTE)
        for folder in places.values():
            directory.open_for_writing(folder)
        buckets = directory.read_manifest(retrievals).about["buckets"]
        job = LabelVotes(
            list(paths.items()), retrievals, config.label.min_votes, places, buckets, stage.about
        )
        run_job(lambda pipeline: pipeline | "Label" >> job, beam_arguments, SECONDS_PER_BUCKET * buckets)
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
    """The whole stage as one transform, from a pipeline to three committed tables."""

    def __init__(
        self,
        paths: list[tuple[str, str]],
        retrievals: str,
        min_votes: int,
        places: dict[str, str],
        buckets: int,
        about: dict[str, Any],
    ) -> None:
        super().__init__()
        self.paths, self.retrievals, self.min_votes, self.places = paths, retrievals, min_votes, places
        self.buckets, self.about = buckets, {**about, "buckets": buckets}

    def expand(self, pipeline: beam.Pipeline) -> None:
        """Vote files → checked votes by bucket of their image → per bucket: verdicts, sums by worker."""
        judged = (
            pipeline
            | "Files" >> beam.Create(self.paths)
            | "SpreadFiles" >> beam.Reshuffle()
            | "CheckVotes" >> beam.FlatMap(check_file, self.buckets)
            | "GatherBucket" >> beam.GroupByKey()
            | "JudgeBucket"
            >> beam.ParDo(
                JudgeBucket(self.retrievals, self.min_votes, self.places, self.buckets)
            ).with_outputs("verdicts", "rejections", "sums")
        )
        workers = (
            judged.sums
            | "GatherSums" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
            | "WriteWorkers" >> beam.Map(_write_workers, self.places["workers"])
        )
        for name, written in (
            ("workers", workers),
            ("rejections", judged.rejections),
            ("verdicts", judged.verdicts),
        ):
            commit = CommitTable(self.places[name], TABLES[name].name, self.about)
            _ = written | f"Commit{name.title()}" >> commit


def check_file(name_and_path: tuple[str, str], buckets: int) -> Iterator[tuple[int, tuple[str, pa.Table]]]:
    """Read one vote file and yield (bucket, (kind, rows)), kind being "votes" or "rejections"."""
    name, path = name_and_path
    for records in read_records(path, VOTE, name):
        good, bad = check_votes(records.rows)
        for index, votes in by_bucket(good, buckets):
            yield index, ("votes", votes)
        rejected = pa.concat_tables([bad, malformed_rows(records.malformed)])
        if rejected.num_rows:
            yield 0, ("rejections", rejected)


class JudgeBucket(beam.DoFn):
    """Turn all votes of one bucket into verdicts, rejections and sums by worker."""

    def __init__(self, retrievals: str, min_votes: int, places: dict[str, str], buckets: int) -> None:
        self.retrievals, self.min_votes, self.places, self.buckets = retrievals, min_votes, places, buckets

    def process(self, element: tuple[int, Iterable[tuple[str, pa.Table]]]) -> Iterator[Any]:
        """The questions of the bucket are read from the retrieval shard of the same index."""
        index, parts = element
        gathered: dict[str, list[pa.Table]] = {"votes": [], "rejections": []}
        for kind, rows in parts:
            gathered[kind].append(rows)
        votes = pa.concat_tables([VOTE_ROWS.empty_table(), *gathered["votes"]])
        asked = directory.read_bucket(self.retrievals, index, self.buckets)
        web = [table.filter(pa.compute.equal(table["source"], "web")) for table in asked]
        kept, settled = settle_votes(votes, pa.concat_tables([RETRIEVAL.schema.empty_table(), *web]))
        rejected = pa.concat_tables([REJECTION.schema.empty_table(), *gathered["rejections"], settled])
        rejected = rejected.sort_by([("row", "ascending"), ("code", "ascending")])

        verdicts = _by_place(majority(kept, self.min_votes))
        tally = Counter(verdicts["verdict"].to_pylist())
        tally.update(votes=len(kept), votes_in=len(kept) + rejected.num_rows)
        name = directory.shard_name("part", index, self.buckets)
        shard = write_shard(self.places["verdicts"], name, VERDICT.schema, [verdicts])
        yield beam.pvalue.TaggedOutput("verdicts", Written(shard, tally))
        shard = write_shard(self.places["rejections"], name, REJECTION.schema, [rejected])
        yield beam.pvalue.TaggedOutput("rejections", Written(shard, Counter(rejected["code"].to_pylist())))
        yield beam.pvalue.TaggedOutput("sums", worker_sums(kept))


def _by_place(table: pa.Table) -> pa.Table:
    order = np.argsort(place(table["image_id"].to_pylist()), kind="stable")
    return table.take(pa.array(order))


def _write_workers(sums: Iterable[pd.DataFrame], folder: str) -> Written:
    table = worker_table(sums)
    return Written(write_shard(folder, directory.shard_name("part", 0, 1), WORKER.schema, [table]))
