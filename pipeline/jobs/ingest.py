"""The ingest job: clean, test and web lists → images, the rows that lead to them, and rejections.

The metadata of an image decides its bucket; a bucket is one task that fetches its images and writes them as one
shard. So the pictures themselves never cross a shuffle, and memory holds one batch of them.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import parquet

from pipeline import files
from pipeline.config import BuildConfig
from pipeline.ingest.fetch import Fetcher
from pipeline.ingest.images import Tools, ingest_images
from pipeline.ingest.isolated import Isolated
from pipeline.ingest.picture import make_picture
from pipeline.ingest.rows import check_rows, distinct_images, resolve_rows
from pipeline.ingest.store import Store, begin_run, fetch_rules
from pipeline.ingest.web_report import write_web_report
from pipeline.jobs.tables import CommitTable, Written, by_bucket, pack, unpack
from pipeline.keyed_hash import bucket_count, place
from pipeline.layout import Layout
from pipeline.records import check_readable, read_records
from pipeline.rejections import Rejected, malformed_rows, reject
from pipeline.running.begun import any_left, noted
from pipeline.running.metrics import count, timed
from pipeline.running.progress import advance
from pipeline.running.rejection_limit import check_share
from pipeline.running.run import Work, run_job
from pipeline.running.stage import Stage, StageResult, counts
from pipeline.running.worker_processes import WorkerDied
from pipeline.shards import directory
from pipeline.shards.parquet import write_shard
from schemas.errors import DataError
from schemas.image import IMAGES
from schemas.manifest import Manifest
from schemas.rejection import FETCH_CODES, REJECTION
from schemas.retrieval import RETRIEVAL, RETRIEVAL_LIST

IMAGES_PER_SHARD = 2048
SECONDS_PER_ROW = 2e-3  # of a core, for a small picture
SMALLEST_BUCKETS = 8  # so that a small set, too, keeps some cores busy
TABLES = {"images": IMAGES, "retrievals": RETRIEVAL, "rejections": REJECTION}


def run(
    config: BuildConfig,
    output: str,
    beam_arguments: list[str],
    force: bool = False,
    retry: Sequence[str] = (),
) -> StageResult:
    """Run the stage unless it is up to date.

    `retry` are codes of rejections: what was fetched before and ended so is fetched again.

    Raises DataError if a list is unreadable, or if too many rows were rejected (they can be looked at then).
    """
    lists = [(source, name) for source in ("clean", "test", "web") for name in getattr(config, source)]
    paths = {f"{source}/{name}": files.join(config.source, name) for source, name in lists}
    stage = Stage(
        "ingest",
        {key: files.sha256(path) for key, path in paths.items()},
        config,
    )
    layout = Layout(output)
    places = layout.ingest_tables
    rules = fetch_rules(config.ingest)
    up_to_date = (
        not (force or retry)
        and stage.is_done(*places.values())
        and not _failed_by_other_rules(layout.rejections, rules)
    )
    if not up_to_date:
        for path in paths.values():
            check_readable(path, RETRIEVAL_LIST)
        rows = sum(_count_rows(path) for path in paths.values())
        buckets = bucket_count(rows, IMAGES_PER_SHARD, SMALLEST_BUCKETS)
        work = Work("ingest", output, "rows", rows, rows * SECONDS_PER_ROW)
        fetched, begun = layout.fetched, layout.in_progress

        def run_once() -> None:
            for folder in places.values():
                directory.open_for_writing(folder)
            kept = Kept(fetched, begin_run(fetched), frozenset(retry), begun, any_left(begun))
            named = [(source, name, files.join(config.source, name)) for source, name in lists]
            job = IngestLists(config, named, places, buckets, stage.about, rules, kept)
            run_job(lambda pipeline: pipeline | "Ingest" >> job, beam_arguments, work)

        try:
            run_once()
        except WorkerDied as died:
            logging.warning("ingest begins anew, and decodes pictures in processes of their own: %s", died)
            run_once()
        files.remove_folder(begun)
    manifests = {name: directory.read_manifest(folder) for name, folder in places.items()}
    _check_nothing_lost(manifests)
    if not up_to_date or not files.exists(layout.web_report):
        write_web_report(layout)
    rows_in, limit = counts(manifests["retrievals"])["rows_in"], config.ingest.max_rejected_share
    check_share(manifests["rejections"], places["rejections"], rows_in, limit, "rows")
    return StageResult(manifests, up_to_date)


@dataclass(frozen=True)
class Kept:
    """What a run knows of the runs before it."""

    folder: str
    """Of what came from the web."""
    run: int
    """The number of this run in it."""
    retry: frozenset[str]
    """Rejections that are to be given another try."""
    begun: str
    """Folder of the buckets that were begun and not ended."""
    isolate: bool
    """Whether there were any: a picture may have crashed its decoder."""


class IngestLists(beam.PTransform):
    """The whole stage as one transform, from a pipeline to three committed tables."""

    def __init__(
        self,
        config: BuildConfig,
        lists: list[tuple[str, str, str]],
        places: dict[str, str],
        buckets: int,
        about: dict[str, Any],
        rules: str,
        kept: Kept,
    ) -> None:
        super().__init__()
        self.config, self.lists, self.places, self.kept = config, lists, places, kept
        self.buckets, self.about, self.rules = buckets, {**about, "buckets": buckets}, rules

    def expand(self, pipeline: beam.Pipeline) -> None:
        """Lists → checked rows by bucket → per bucket: rows settled, images fetched, shards written."""
        checked = (
            pipeline
            | "Lists" >> beam.Create(sorted(set(self.lists)))
            | "SpreadLists" >> beam.Reshuffle()
            | "CheckRows" >> beam.FlatMap(check_list, self.config.classes, self.buckets)
        )
        written = (
            checked
            | "GatherBucket" >> beam.GroupByKey()
            | "IngestBucket"
            >> beam.ParDo(IngestBucket(self.config, self.places, self.buckets, self.kept)).with_outputs(
                *TABLES
            )
        )
        for name, table in TABLES.items():
            # No later stage reads the rejections, so other rules alone change nothing that one is made from.
            about = {**self.about, "fetch_rules": self.rules} if name == "rejections" else self.about
            _ = written[name] | f"Commit{name.title()}" >> CommitTable(self.places[name], table.name, about)


def check_list(
    source_name_path: tuple[str, str, str], classes: tuple[str, ...], buckets: int
) -> Iterator[tuple[int, tuple[str, bytes]]]:
    """Read one list and yield (bucket, (kind, packed rows)), kind being "rows" or "rejections"."""
    source, name, path = source_name_path
    for records in read_records(path, RETRIEVAL_LIST, name):
        good, bad = check_rows(records.rows, classes, source)
        for index, rows in by_bucket(good, buckets):
            yield index, ("rows", pack(rows))
        rejected = pa.concat_tables([bad, malformed_rows(records.malformed)])
        if rejected.num_rows:
            # Rows without a usable id belong nowhere; any bucket that is always there will do.
            yield 0, ("rejections", pack(rejected))


class IngestBucket(beam.DoFn):
    """Turn all rows of one bucket into shards; outputs a `Written` for each of the three tables."""

    def __init__(self, config: BuildConfig, places: dict[str, str], buckets: int, kept: Kept) -> None:
        self.config, self.places, self.buckets, self.kept = config, places, buckets, kept

    def setup(self) -> None:
        """Connections, and what is remembered of hosts, outlive a bucket."""
        self.fetcher = Fetcher(self.config.source, self.config.ingest)
        self.isolated = Isolated(self.config.ingest)

    def teardown(self) -> None:
        """Close the connections."""
        self.fetcher.close()
        self.isolated.close()

    @timed
    def process(self, element: tuple[int, Iterable[tuple[str, bytes]]]) -> Iterator[Any]:
        """Settle, fetch, write."""
        index, parts = element
        name = directory.shard_name("part", index, self.buckets)
        with noted(self.kept.begun, name) as again:
            yield from self._ingest(name, parts, isolate=again or self.kept.isolate)

    def _ingest(self, name: str, parts: Iterable[tuple[str, bytes]], isolate: bool) -> Iterator[Any]:
        gathered: dict[str, list[pa.Table]] = {"rows": [], "rejections": []}
        for kind, rows in parts:
            gathered[kind].append(unpack(rows))
        rows = pa.concat_tables([RETRIEVAL.schema.empty_table(), *gathered["rows"]])
        rejections = [REJECTION.schema.empty_table(), *gathered["rejections"]]
        rows_in = rows.num_rows + sum(table.num_rows for table in rejections)

        rows, settled = resolve_rows(rows)
        rejections.append(settled)
        failed: dict[str, Rejected] = {}
        shard = write_shard(self.places["images"], name, IMAGES.schema, self._images(rows, failed, isolate))
        advance(
            rows_in - len(failed) - (shard.rows if shard else 0)
        )  # the rows without an image of their own
        yield _output("images", Written(shard))

        kept, lost = _part(rows, failed)
        rejections.append(lost)
        shard = write_shard(self.places["retrievals"], name, RETRIEVAL.schema, [kept])
        yield _output("retrievals", Written(shard, Counter(rows_in=rows_in)))

        rejected = pa.concat_tables(rejections).sort_by([("row", "ascending"), ("code", "ascending")])
        shard = write_shard(self.places["rejections"], name, REJECTION.schema, [rejected])
        yield _output("rejections", Written(shard, Counter(rejected["code"].to_pylist())))

    def _images(self, rows: pa.Table, failed: dict[str, Rejected], isolate: bool) -> Iterator[pa.Table]:
        """The image tables of the bucket; fills `failed` on the way."""
        wanted = distinct_images(rows)
        urls = wanted["url"][wanted["path"].isna()].dropna()
        store = Store(self.kept.folder, self.kept.run, urls, self.config.ingest)
        try:
            config = self.config.ingest
            make = self.isolated.make if isolate else partial(make_picture, config=config)
            tools = Tools(self.fetcher, store, config, make, self.kept.retry, advance)
            yield from ingest_images(wanted, tools, failed)
        finally:
            store.close()
            count("url.known", sum(url in store.known for url in urls))
            for name, amount in store.added.items():
                count(name, amount)


def _part(rows: pa.Table, failed: dict[str, Rejected]) -> tuple[pa.Table, pa.Table]:
    """Rows whose image is there, sorted by place and class, and the rejections of the others."""
    ids = rows["image_id"].to_pylist()
    lost = np.array([image_id in failed for image_id in ids], bool)
    bad, good = rows.filter(pa.array(lost)), rows.filter(pa.array(~lost))
    reasons = [failed[image_id] for image_id in bad["image_id"].to_pylist()]
    codes = np.array([reason.code for reason in reasons], object)
    order = np.lexsort((good["class_name"].to_numpy(), place(good["image_id"].to_pylist())))
    details, asked = [reason.detail for reason in reasons], [reason.asked for reason in reasons]
    return good.take(pa.array(order)), reject(bad, codes, details, asked)


def _output(name: str, written: Written) -> beam.pvalue.TaggedOutput:
    return beam.pvalue.TaggedOutput(name, written)


def _count_rows(path: str) -> int:
    """A quick upper bound of the rows of a list, to choose the number of buckets by."""
    with files.open_read(path) as file:
        if path.lower().endswith(".parquet"):
            return parquet.ParquetFile(file).metadata.num_rows
        lines = 0
        while piece := file.read(1 << 20):
            lines += piece.count(b"\n")
        return lines


def _failed_by_other_rules(rejections: str, rules: str) -> bool:
    """Whether a URL failed while the configuration had other rules for fetching, so that it has to be asked again."""
    if directory.read_manifest(rejections).about.get("fetch_rules") == rules:
        return False
    failed = (pc.field("host") != "") & pc.field("code").isin(list(FETCH_CODES))
    return any(shard.filter(failed).num_rows for shard in directory.read_shards(rejections, ["code", "host"]))


def _check_nothing_lost(manifests: dict[str, Manifest]) -> None:
    rows_in = counts(manifests["retrievals"]).get("rows_in", 0)
    if not rows_in:
        raise DataError("the lists hold no rows; check 'clean', 'test' and 'web' in the configuration")
    out = manifests["retrievals"].rows + manifests["rejections"].rows
    if rows_in != out:
        raise DataError(f"{rows_in} rows went in and {out} came out; run the stage again with --force")
