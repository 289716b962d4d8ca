"""The first step of the label job: vote files → the votes that count, by bucket of their image, and sums over them."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import apache_beam as beam
import pyarrow as pa

from pipeline.aggregate.agreement_table import vote_patterns
from pipeline.aggregate.choices import expand_choices
from pipeline.aggregate.columns import codes_of
from pipeline.aggregate.readers.votes import read_votes
from pipeline.aggregate.votes import VOTE_ROWS, check_votes, settle_votes
from pipeline.aggregate.workers import worker_sums
from pipeline.config import AggregateConfig
from pipeline.jobs.tables import Written, pack, unpack
from pipeline.keyed_hash import by_bucket, keyed_hash, shard_key
from pipeline.rejections import malformed_rows
from pipeline.running.metrics import timed
from pipeline.running.progress import advance
from pipeline.shards import directory
from pipeline.shards.parquet import write_shard
from schemas.agreement import AGREEMENT
from schemas.rejection import REJECTION
from schemas.retrieval import RETRIEVAL
from schemas.retrieval_precision import RETRIEVAL_PRECISION
from schemas.verdict import VERDICT
from schemas.worker import WORKER

_PAIR = pa.schema([REJECTION.schema.field(name) for name in ("image_id", "class_name")])
ROWS_TOGETHER = 1 << 20  # votes of a file that are cut into buckets at once


TABLES = {  # of the stage, by their name in Layout.aggregate_tables
    "verdicts": VERDICT,
    "workers": WORKER,
    "agreement": AGREEMENT,
    "precision": RETRIEVAL_PRECISION,
    "rejections": REJECTION,
}


@dataclass(frozen=True)
class AggregateSetup:
    """What the steps of the stage have in common.

    paths: pairs (name, path) of vote files. retrievals: folder of the questions. choices: the classes that a vote may
    choose among. classes: all of them. ingest_rejections: folder of the list rows without an image. folders: of the
    tables, by name; about: what their manifests say.
    """

    paths: tuple[tuple[str, str], ...]
    retrievals: str
    config: AggregateConfig
    choices: tuple[str, ...]
    classes: tuple[str, ...]
    ingest_rejections: str
    seed: int
    gold: pa.Table | None
    folders: dict[str, str]
    buckets: int
    about: dict[str, Any]


class SettleVotes(beam.PTransform):
    """Vote files → `kept`: (bucket, VoteColumns); `written`: (table, Written); `sums`, `patterns` of buckets.

    questions: PCollection[(bucket, shards of the retrieval table)].
    """

    def __init__(self, setup: AggregateSetup, questions: beam.PCollection) -> None:
        super().__init__()
        self.setup, self.questions = setup, questions

    def expand(self, pipeline: beam.Pipeline) -> Any:
        """Each file is read once; a bucket gets all votes on its images."""
        setup = self.setup
        check = beam.FlatMap(check_file, setup.buckets, setup.config.answers, setup.choices, setup.classes)
        votes = (
            pipeline
            | "Files" >> beam.Create(setup.paths)
            | "SpreadFiles" >> beam.Reshuffle()
            | "CheckVotes" >> check
        )
        rejected = shards_by_bucket(pipeline, setup.ingest_rejections, setup.buckets, "RejectedShards")
        return (
            {"votes": votes, "shards": self.questions, "rejected": rejected}
            | "GatherBucket" >> beam.CoGroupByKey()
            | "SettleBucket"
            >> beam.ParDo(SettleBucket(setup)).with_outputs("written", "sums", "patterns", main="kept")
        )


def shards_by_bucket(
    pipeline: beam.Pipeline, folder: str, buckets: int, name: str = "QuestionShards"
) -> beam.PCollection:
    """Return PCollection[(bucket, its shards of the table in `folder`)]; `name` is that of the step."""
    shards = directory.by_bucket(directory.read_manifest(folder).shards, buckets)
    return pipeline | name >> beam.Create(list(shards.items()))


class SettleBucket(beam.DoFn):
    """All votes of one bucket → those that count, rejections, sums by worker, patterns of votes."""

    def __init__(self, given: AggregateSetup) -> None:
        self.given = given

    @timed
    def process(self, element: tuple[int, dict[str, Iterable[Any]]]) -> Iterator[Any]:
        """The questions of the bucket are read from the retrieval shards of the same images."""
        given, (index, found) = self.given, element
        gathered: dict[str, list[pa.Table]] = {"votes": [], "rejections": []}
        for kind, rows in found["votes"]:
            gathered[kind].append(unpack(rows))
        votes = pa.concat_tables([VOTE_ROWS.empty_table(), *gathered["votes"]])
        columns = ["image_id", "class_name", "source"]
        schema = pa.schema([RETRIEVAL.schema.field(name) for name in columns])
        shards = chain.from_iterable(found["shards"])
        asked = directory.read_bucket(given.retrievals, shards, schema, check_digests=True)
        questions = asked.filter(pa.compute.equal(asked["source"], "web"))
        gone = directory.read_bucket(
            given.ingest_rejections, chain.from_iterable(found["rejected"]), _PAIR, check_digests=True
        )
        without_image = gone.drop_null().group_by(_PAIR.names).aggregate([])
        if given.config.choices:
            votes = expand_choices(votes, questions)
        kept, settled = settle_votes(votes, questions, given.config.duplicates, without_image)
        rejected = pa.concat_tables([REJECTION.schema.empty_table(), *gathered["rejections"], settled])
        rejected = rejected.sort_by([("location", "ascending"), ("code", "ascending")])

        stem = directory.shard_stem("part", index, given.buckets)
        shard = write_shard(given.folders["rejections"], stem, REJECTION.schema, [rejected])
        lost = Written(shard, Counter(rejected["code"].to_pylist()))
        yield beam.pvalue.TaggedOutput("written", ("rejections", lost))
        yield beam.pvalue.TaggedOutput("sums", worker_sums(kept))
        yield beam.pvalue.TaggedOutput("patterns", vote_patterns(kept))
        votes_in = Counter(votes=len(kept.items), votes_in=len(kept.items) + rejected.num_rows)
        yield beam.pvalue.TaggedOutput("written", ("verdicts", Written(None, votes_in)))
        advance(1)
        yield index, kept


def check_file(
    name_and_path: tuple[str, str],
    buckets: int,
    words: dict[str, str] | None,
    choices: tuple[str, ...],
    classes: tuple[str, ...],
) -> Iterator[tuple[int, tuple[str, bytes]]]:
    """Read one vote file and yield (bucket, (kind, packed rows)), kind being "votes" or "rejections"."""
    name, path = name_and_path
    held: list[pa.Table] = []
    for records in read_votes(path, name):
        good, bad = check_votes(records.rows, words, choices, classes)
        held.append(good)
        if sum(votes.num_rows for votes in held) >= ROWS_TOGETHER:
            yield from cut_votes(held, buckets)
            held = []
        skipped = malformed_rows(records.skipped, "skipped_answer")
        rejected = pa.concat_tables([bad, malformed_rows(records.malformed), skipped])
        if rejected.num_rows:
            # Votes without a usable image have no bucket of their own: they are spread by their location in the file.
            spread = keyed_hash(rejected["location"].to_pylist(), 0, "row")
            for index, rows in by_bucket(rejected, buckets, spread):
                yield index, ("rejections", pack(rows))
    yield from cut_votes(held, buckets)


def cut_votes(parts: list[pa.Table], buckets: int) -> Iterator[tuple[int, tuple[str, bytes]]]:
    """Votes by the bucket of their image; each image is hashed once."""
    votes = pa.concat_tables([VOTE_ROWS.empty_table(), *parts])
    codes, images = codes_of(votes["image_id"])
    places = shard_key(images.to_pylist())[codes]
    for index, rows in by_bucket(votes, buckets, places):
        yield index, ("votes", pack(rows))
