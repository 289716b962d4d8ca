"""Vote validation, the first step of the aggregate job: vote files → valid votes by bucket of their image."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa

from pipeline.aggregate.agreement_table import vote_patterns
from pipeline.aggregate.class_answers import expand_class_answers
from pipeline.aggregate.gold import count_gold_questions
from pipeline.aggregate.gold_votes import gold_vote_sums, split_gold_votes
from pipeline.aggregate.readers.votes import read_votes
from pipeline.aggregate.seen_class import drop_unusable_seen_classes
from pipeline.aggregate.verdicts import gold_codes
from pipeline.aggregate.vote_columns import codes_of
from pipeline.aggregate.vote_validation import VOTE_ROWS, check_vote_rows, select_valid_votes
from pipeline.aggregate.workers import add_worker_sums, worker_sums
from pipeline.aggregate_config import AggregateConfig
from pipeline.jobs.tables import Written, pack, unpack
from pipeline.keyed_hash import by_bucket, keyed_hash, shard_key
from pipeline.rejections import malformed_rows
from pipeline.running.metrics import timed
from pipeline.running.progress import advance
from pipeline.shards import directory
from pipeline.shards.parquet import write_shard
from schemas.agreement import AGREEMENT
from schemas.error_model import ERROR_MODEL
from schemas.gold_vote import GOLD_VOTE
from schemas.rejection import REJECTION
from schemas.retrieval import RETRIEVAL
from schemas.retrieval_precision import RETRIEVAL_PRECISION
from schemas.verdict import VERDICT
from schemas.worker import WORKER

VOTES_PER_CUT = 1 << 20  # votes of a file that are divided among the buckets at once
TABLES = {  # tables of the aggregate stage, by their name in Layout.aggregate_tables
    "verdicts": VERDICT,
    "workers": WORKER,
    "agreement": AGREEMENT,
    "retrieval_precision": RETRIEVAL_PRECISION,
    "error_model": ERROR_MODEL,
    "rejections": REJECTION,
    "gold_votes": GOLD_VOTE,
}
_QUESTION = pa.schema([REJECTION.schema.field(name) for name in ("image_id", "class_name")])
_RETRIEVAL_COLUMNS = pa.schema(
    [RETRIEVAL.schema.field(name) for name in ("image_id", "class_name", "source")]
)


@dataclass(frozen=True)
class AggregateSetup:
    """Inputs, settings and output folders that the steps of the stage share.

    paths: (name, path) of the vote files. retrievals: folder of the retrieval table, which has the questions.
    answer_classes: classes that a vote without a class may name. classes: all classes. ingest_rejections: folder of the
    list rows without an image. questions: number of all questions (web rows). folders: output folder of each of TABLES.
    about: facts for their manifests.
    """

    paths: tuple[tuple[str, str], ...]
    retrievals: str
    config: AggregateConfig
    answer_classes: tuple[str, ...]
    classes: tuple[str, ...]
    ingest_rejections: str
    seed: int
    gold: pa.Table | None
    folders: dict[str, str]
    buckets: int
    questions: int
    about: dict[str, Any]


class ValidatedVotes(NamedTuple):
    """PCollections of valid votes by bucket (bucket, VoteColumns), written tables (table, Written), and sums of the buckets."""

    valid: beam.PCollection
    written: beam.PCollection
    workers: beam.PCollection
    patterns: beam.PCollection


class ValidateVotes(beam.PTransform):
    """Vote files → ValidatedVotes; `questions` is a PCollection[(bucket, shards of the retrieval table)]."""

    def __init__(self, setup: AggregateSetup, questions: beam.PCollection) -> None:
        super().__init__()
        self.setup, self.questions = setup, questions

    def expand(self, pipeline: beam.Pipeline) -> Any:
        """Read each file once, then validate the votes of each bucket together; return ValidatedVotes."""
        setup = self.setup
        checked = (
            pipeline
            | "Files" >> beam.Create(setup.paths)
            | "CheckRows" >> beam.FlatMap(check_file, setup).with_outputs("written", main="votes")
        )
        rejected = shards_by_bucket(pipeline, setup.ingest_rejections, setup.buckets, "RejectedShards")
        validated = (
            {"votes": checked.votes, "shards": self.questions, "rejected": rejected}
            | "GatherBucket" >> beam.CoGroupByKey()
            | "ValidateBucket"
            >> beam.ParDo(ValidateBucket(setup)).with_outputs("written", "workers", "patterns", main="valid")
        )
        written = (checked.written, validated.written) | "ValidationWritten" >> beam.Flatten()
        return ValidatedVotes(validated.valid, written, validated.workers, validated.patterns)


def shards_by_bucket(
    pipeline: beam.Pipeline, folder: str, buckets: int, label: str = "QuestionShards"
) -> beam.PCollection:
    """Return PCollection[(bucket, its shards of the table in `folder`)]; `label` is the Beam label of the step."""
    shards = directory.by_bucket(directory.read_manifest(folder).shards, buckets)
    return pipeline | label >> beam.Create(list(shards.items()), reshuffle=False)


class ValidateBucket(beam.DoFn):
    """All votes of one bucket → valid votes, rejections, worker sums, vote patterns."""

    def __init__(self, setup: AggregateSetup) -> None:
        self.aggregate_setup = setup

    @timed
    def process(self, element: tuple[int, dict[str, Iterable[Any]]]) -> Iterator[Any]:
        """Validate votes against the questions in the retrieval shards of the same images."""
        setup, (index, groups) = self.aggregate_setup, element
        parts: dict[str, list[pa.Table]] = {"votes": [], "rejections": []}
        for name, rows in groups["votes"]:
            parts[name].append(unpack(rows))
        votes = pa.concat_tables([VOTE_ROWS.empty_table(), *parts["votes"]])
        shards = chain.from_iterable(groups["shards"])
        asked = directory.read_bucket(setup.retrievals, shards, _RETRIEVAL_COLUMNS, check_digests=True)
        questions = asked.filter(pa.compute.equal(asked["source"], "web"))
        without_image = directory.read_bucket(
            setup.ingest_rejections,
            chain.from_iterable(groups["rejected"]),
            _QUESTION,
            check_digests=True,
        )
        without_image = without_image.drop_null().group_by(_QUESTION.names).aggregate([])
        read = votes.num_rows
        if setup.config.class_answers:
            among = asked.filter(pa.compute.is_in(asked["source"], pa.array(["web", "clean"])))
            votes = expand_class_answers(votes, among.group_by(_QUESTION.names).aggregate([]))
        expanded = votes.num_rows - read
        votes, dropped = drop_unusable_seen_classes(votes, setup.classes)
        repeated_votes = setup.config.repeated_votes
        clean = asked.filter(pa.compute.equal(asked["source"], "clean"))
        votes, gold_votes, repeated = split_gold_votes(
            votes, clean, setup.classes, repeated_votes, setup.gold
        )
        valid, invalid = select_valid_votes(votes, questions, repeated_votes, without_image)
        rejected = pa.concat_tables([REJECTION.schema.empty_table(), *parts["rejections"], repeated, invalid])
        # Several rejections have one location if a vote was expanded.
        rejected = rejected.sort_by([(name, "ascending") for name in ("location", "code", *_QUESTION.names)])

        stem = directory.shard_stem("part", index, setup.buckets)
        shard = write_shard(setup.folders["rejections"], stem, REJECTION.schema, [rejected])
        written = Written(shard, Counter(rejected["code"].to_pylist()))
        yield beam.pvalue.TaggedOutput("written", ("rejections", written))
        shard = write_shard(setup.folders["gold_votes"], stem, GOLD_VOTE.schema, [gold_votes])
        yield beam.pvalue.TaggedOutput("written", ("gold_votes", Written(shard)))
        known = gold_codes(valid.questions, setup.gold)
        sums = [worker_sums(valid, known), gold_vote_sums(gold_votes)]
        yield beam.pvalue.TaggedOutput("workers", (index, add_worker_sums(sums)))
        yield beam.pvalue.TaggedOutput("patterns", vote_patterns(valid))
        counted = Counter(votes=len(valid.items), gold_votes=gold_votes.num_rows)
        if expanded:
            counted["added_by_class_answers"] = expanded
        if dropped:
            counted["unusable_seen_class"] = dropped
        if setup.gold is not None:
            counted["gold_questions"] = count_gold_questions(setup.gold, questions, clean)
        yield beam.pvalue.TaggedOutput("written", ("verdicts", Written(None, counted)))
        advance(1)
        yield index, valid


def check_file(name_and_path: tuple[str, str], setup: AggregateSetup) -> Iterator[Any]:
    """Read one vote file and check each row; yield (bucket, ("votes" or "rejections", packed rows)).

    The number of rows that were read is the side output "written".
    """
    name, path = name_and_path
    votes_in = 0
    words, classes, buckets = setup.config.answer_words, setup.classes, setup.buckets
    pending: list[pa.Table] = []
    for records in read_votes(path, name):
        good, bad = check_vote_rows(records.rows, words, setup.answer_classes, classes)
        pending.append(good)
        if sum(votes.num_rows for votes in pending) >= VOTES_PER_CUT:
            yield from cut_votes(pending, buckets)
            pending = []
        skipped = malformed_rows(records.skipped, "skipped_answer")
        rejected = pa.concat_tables([bad, malformed_rows(records.malformed), skipped])
        votes_in += records.rows.num_rows + len(records.malformed) + len(records.skipped)
        if rejected.num_rows:
            # Votes without a usable image belong to no bucket, so their location in the file spreads them.
            hashes = keyed_hash(rejected["location"].to_pylist(), 0, "row")
            for index, rows in by_bucket(rejected, buckets, hashes):
                yield index, ("rejections", pack(rows))
    yield from cut_votes(pending, buckets)
    yield beam.pvalue.TaggedOutput("written", ("verdicts", Written(None, Counter(votes_in=votes_in))))


def cut_votes(parts: list[pa.Table], buckets: int) -> Iterator[tuple[int, tuple[str, bytes]]]:
    """Divide votes by the bucket of their image; each image id is hashed once."""
    votes = pa.concat_tables([VOTE_ROWS.empty_table(), *parts])
    codes, images = codes_of(votes["image_id"])
    shard_keys = shard_key(images.to_pylist())[codes]
    for index, rows in by_bucket(votes, buckets, shard_keys):
        yield index, ("votes", pack(rows))
