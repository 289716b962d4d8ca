"""The steps of the label job: settle the votes of a bucket, judge it by majority, or judge all of them together."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.config import LabelConfig
from pipeline.jobs.metrics import timed
from pipeline.jobs.progress import advance
from pipeline.jobs.tables import Written, by_bucket, unpack
from pipeline.keyed_hash import place
from pipeline.labels.agreement import Interval
from pipeline.labels.agreement_table import agreement_table, cohen_by_class, vote_patterns
from pipeline.labels.choices import expand_choices
from pipeline.labels.columns import VoteColumns, join_columns
from pipeline.labels.consensus.settings import Settings
from pipeline.labels.judge import judge, majority_with_posterior, settle_ties
from pipeline.labels.majority import majority
from pipeline.labels.votes import VOTE_ROWS, settle_votes
from pipeline.labels.workers import worker_sums, worker_table
from pipeline.shards import directory
from pipeline.shards.parquet import write_shard
from schemas.agreement import AGREEMENT
from schemas.rejection import REJECTION
from schemas.retrieval import RETRIEVAL
from schemas.verdict import VERDICT
from schemas.worker import WORKER


@dataclass(frozen=True)
class Found:
    """What only the votes of all buckets together tell: skill by worker, and Cohen's kappas by class."""

    skill: dict[str, float] = field(default_factory=dict)
    cohen: dict[str | None, Interval] | None = None


NOTHING = Found()


class SettleBucket(beam.DoFn):
    """All votes of one bucket → those that count, rejections, sums by worker, patterns of votes."""

    def __init__(self, retrievals: str, config: LabelConfig, places: dict[str, str], buckets: int) -> None:
        self.retrievals, self.config, self.places, self.buckets = retrievals, config, places, buckets

    def setup(self) -> None:
        """Read once what all buckets look up."""
        self.manifest = directory.read_manifest(self.retrievals)

    @timed
    def process(self, element: tuple[int, Iterable[tuple[str, bytes]]]) -> Iterator[Any]:
        """The questions of the bucket are read from the retrieval shards of the same images."""
        index, parts = element
        gathered: dict[str, list[pa.Table]] = {"votes": [], "rejections": []}
        for kind, rows in parts:
            gathered[kind].append(unpack(rows))
        votes = pa.concat_tables([VOTE_ROWS.empty_table(), *gathered["votes"]])
        columns = ["image_id", "class_name", "source"]
        asked = directory.read_bucket(self.retrievals, index, self.buckets, columns, self.manifest)
        web = [table.filter(pa.compute.equal(table["source"], "web")) for table in asked]
        questions = pa.concat_tables([RETRIEVAL.schema.empty_table().select(columns), *web])
        if self.config.choices:
            votes = expand_choices(votes, questions)
        kept, settled = settle_votes(votes, questions, self.config.duplicates)
        rejected = pa.concat_tables([REJECTION.schema.empty_table(), *gathered["rejections"], settled])
        rejected = rejected.sort_by([("row", "ascending"), ("code", "ascending")])

        name = directory.shard_name("part", index, self.buckets)
        shard = write_shard(self.places["rejections"], name, REJECTION.schema, [rejected])
        yield beam.pvalue.TaggedOutput("rejections", Written(shard, Counter(rejected["code"].to_pylist())))
        yield beam.pvalue.TaggedOutput("sums", worker_sums(kept))
        yield beam.pvalue.TaggedOutput("patterns", vote_patterns(kept))
        votes_in = Counter(votes=len(kept.items), votes_in=len(kept.items) + rejected.num_rows)
        yield beam.pvalue.TaggedOutput("votes", Written(None, votes_in))
        advance(1)
        yield index, kept


class JudgeBucket(beam.DoFn):
    """Verdicts of one bucket by majority."""

    def __init__(self, config: LabelConfig, seed: int, folder: str, buckets: int) -> None:
        self.config, self.seed, self.folder, self.buckets = config, seed, folder, buckets

    def process(self, element: tuple[int, VoteColumns]) -> Iterator[Written]:
        """One shard of verdicts."""
        index, votes = element
        table = majority(votes, self.config.min_votes)
        table = settle_ties(table, self.config.ties, self.config.min_votes, self.seed)
        yield write_verdicts(table, self.folder, index, self.buckets)


class JudgeAll(beam.DoFn):
    """Verdicts of all buckets by a method that must see all votes, as codes, in one worker."""

    def __init__(
        self, config: LabelConfig, seed: int, gold: pa.Table | None, folder: str, buckets: int
    ) -> None:
        self.config, self.seed, self.gold, self.folder, self.buckets = config, seed, gold, folder, buckets

    def process(self, parts: list[tuple[int, VoteColumns]]) -> Iterator[Any]:
        """All shards of verdicts; what else was found out, as the side output "found"."""
        config = self.config
        votes = join_columns([columns for _, columns in sorted(parts, key=lambda part: part[0])])
        settings = Settings(config.max_iterations, config.tolerance, config.smoothing)
        if config.method == "majority":
            table, found = majority_with_posterior(votes, settings, config.min_votes)
        else:
            table, found = judge(
                votes, config.method, settings, config.min_votes, config.min_confidence, self.gold
            )
        table = settle_ties(table, config.ties, config.min_votes, self.seed)
        skill = dict(zip(votes.workers, found.skill, strict=True)) if config.method != "majority" else {}
        known = {name: float(value) for name, value in skill.items() if not np.isnan(value)}
        yield beam.pvalue.TaggedOutput("found", Found(known, cohen_by_class(votes)))
        for index, rows in by_bucket(table, self.buckets):
            yield write_verdicts(rows, self.folder, index, self.buckets)


def without_times(element: tuple[int, VoteColumns]) -> tuple[int, VoteColumns]:
    """What a bucket sends to `JudgeAll`."""
    index, votes = element
    return index, votes.without_times()


def write_verdicts(table: pa.Table, folder: str, index: int, buckets: int) -> Written:
    """Write the verdicts of one bucket, sorted by place, and count them."""
    order = np.argsort(place(table["image_id"].to_pylist()), kind="stable")
    shard = write_shard(
        folder, directory.shard_name("part", index, buckets), VERDICT.schema, [table.take(pa.array(order))]
    )
    return Written(shard, Counter(table["verdict"].to_pylist()))


def write_workers(sums: Iterable[pd.DataFrame], folder: str, found: Found = NOTHING) -> Written:
    """Write the worker table of the sums of all buckets."""
    table = worker_table(sums, found.skill)
    return Written(write_shard(folder, directory.shard_name("part", 0, 1), WORKER.schema, [table]))


def write_agreement(patterns: Iterable[pd.Series], folder: str, found: Found = NOTHING) -> Written:
    """Write the agreement table of the patterns of all buckets."""
    table = agreement_table(patterns, found.cohen)
    return Written(write_shard(folder, directory.shard_name("part", 0, 1), AGREEMENT.schema, [table]))
