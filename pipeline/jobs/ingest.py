"""The ingest job: lists, files and fetched bodies → images, the rows that lead to them, and rejections.

The job reads only tables and stored bytes, so a task gives the same result at every attempt. Only rows cross the shuffle:
they are gathered by the bucket of their image, and the task of a bucket processes its images and writes them as one
shard. Memory holds a batch of images.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

from common.errors import DataError
from common.json_records import parse_json
from pipeline import files
from pipeline.config import BuildConfig
from pipeline.ingest.bucket_images import BucketContext, ingest_images
from pipeline.ingest.decode_pool import acquire, release
from pipeline.ingest.lists import ListPart, has_urls, list_parts, list_paths, named_lists, read_list
from pipeline.ingest.rows import (
    IMAGES_PER_SHARD,
    OUTCOME,
    SMALLEST_BUCKETS,
    check_rows,
    distinct_images,
    resolve_rows,
)
from pipeline.jobs import fetch
from pipeline.jobs.tables import Commit, CommitTables, Written, pack, unpack
from pipeline.keyed_hash import bucket_count, by_bucket, keyed_hash, shard_key
from pipeline.layout import Layout
from pipeline.records import check_readable, read_records
from pipeline.rejections import Rejected, malformed_rows, reject
from pipeline.running.dataflow_jobs import unfinished_jobs
from pipeline.running.metrics import timed
from pipeline.running.options import decoder_count, runs_in_this_process
from pipeline.running.progress import advance
from pipeline.running.rejection_limit import check_lists, check_share
from pipeline.running.run import JobSpec, run_job
from pipeline.running.stage import Stage, StageResult, counts
from pipeline.shards import commit, directory
from pipeline.shards.parquet import write_shard
from schemas.fetched import FETCHED
from schemas.image import IMAGES
from schemas.manifest import Manifest
from schemas.rejection import REJECTION
from schemas.retrieval import RETRIEVAL, RETRIEVAL_LIST

SECONDS_PER_ROW = 2e-3  # CPU time of a small image
PAIR = ["image_id", "class_name"]
ROWS_TOGETHER = 1 << 18  # rows of a list that are partitioned at once
GROUPS = 256  # largest number of tasks
URL_BUCKET, ROWS, REJECTIONS = "urls", "rows", "rejections"
TABLES = {"images": IMAGES, "retrievals": RETRIEVAL, "rejections": REJECTION}
_OUTCOME_SOURCE = {"body_sha256": "sha256"}  # the other columns have the same names in `fetched`


@dataclass(frozen=True)
class IngestSetup:
    """Settings that all tasks of the job share.

    fetched: folder of the table `fetched`, which has `url_buckets` buckets; None if the lists contain no URLs.
    decoders: number of decoding processes per worker process.
    """

    config: BuildConfig
    layout: Layout
    buckets: int
    fetched: str | None
    url_buckets: int
    decoders: int

    @property
    def groups(self) -> int:
        """Return the number of groups of adjacent buckets. A group is one task, so that shuffles have few keys."""
        return min(self.buckets, GROUPS)


def stage_of(config: BuildConfig, output: str) -> Stage:
    """Return the stage with its present inputs and configuration.

    Raises DataError if the lists contain URLs and the fetch stage has not run.
    """
    inputs = {key: files.sha256(path) for key, path in list_paths(config).items()}
    if has_urls(config):
        inputs["fetched"] = directory.read_manifest(Layout(output).fetched).about.get("content", "")
    return Stage("ingest", inputs, config)


def is_up_to_date(config: BuildConfig, output: str) -> bool:
    """Return whether the tables are those that the stage would write now."""
    if has_urls(config) and directory.find_manifest(Layout(output).fetched) is None:
        return False
    done = stage_of(config, output).is_done(*Layout(output).ingest_tables.values())
    return done and versions_digest(config) == _recorded(output)


def run(config: BuildConfig, output: str, beam_arguments: list[str], force: bool = False) -> StageResult:
    """Run the stage unless it is up to date.

    Raises DataError if a list is unreadable, or if too many rows were rejected. In the second case the tables are still
    written, so that the rejections can be inspected.
    """
    stage, layout, paths = stage_of(config, output), Layout(output), list_paths(config)
    up_to_date = not force and is_up_to_date(config, output)
    if not up_to_date:
        versions = versions_digest(config)  # before the job, so that the next run notices changes during it
        for path in paths.values():
            check_readable(path, RETRIEVAL_LIST)
        lists = list_parts(config)
        rows = sum(part.part.rows for part in lists)
        for folder in layout.ingest_tables.values():
            commit.prepare(folder)
        # If this run is killed after it has replaced tables, no earlier versions may seem to be theirs.
        files.remove(layout.source_versions)
        fetched = directory.read_manifest(layout.fetched) if has_urls(config) else None
        setup = IngestSetup(
            config,
            layout,
            bucket_count(rows, IMAGES_PER_SHARD, SMALLEST_BUCKETS),
            layout.fetched if fetched else None,
            fetched.about["buckets"] if fetched else 1,
            decoder_count(beam_arguments, rows * SECONDS_PER_ROW),
        )
        job = IngestLists(lists, setup, fetched, stage.about, partial(finish, config, layout, versions))
        work = JobSpec("ingest", output, "rows", rows)
        pool = (
            acquire(config.source, config.ingest, setup.decoders)
            if runs_in_this_process(beam_arguments)
            else None
        )
        try:
            if pool:
                pool.start()  # their modules load while the job is prepared
            run_job(lambda pipeline: pipeline | "Ingest" >> job, beam_arguments, work)
        finally:
            if pool:
                release(pool)
    manifests = {name: directory.read_manifest(folder) for name, folder in layout.ingest_tables.items()}
    if up_to_date:
        check(config, layout, manifests)
    # A job that another command left running may be writing bodies.
    if not config.fetch.keep_bodies and not (up_to_date and unfinished_jobs(output)):
        fetch.drop_bodies(output)
    return StageResult(manifests, up_to_date)


def finish(config: BuildConfig, layout: Layout, versions: str, manifests: dict[str, Manifest]) -> None:
    """Record the versions of the listed files, and check the committed tables. Raises DataError like `check`."""
    files.write_text(layout.source_versions, json.dumps({"versions": versions}) + "\n")
    check(config, layout, manifests)


def check(config: BuildConfig, layout: Layout, manifests: dict[str, Manifest]) -> None:
    """Raise DataError if rows were lost, or if more were rejected than the configuration allows."""
    _check_row_count(manifests)
    rows_in, limit = counts(manifests["retrievals"])["rows_in"], config.ingest.max_rejected_share
    expected = {"duplicate_row"}
    check_share("ingest", manifests["rejections"], layout.rejections, rows_in, limit, "rows", expected)
    sources = {name: source for source, name, _ in named_lists(config)}
    check_lists(layout.rejections, layout.retrievals, sources, limit, expected)


def versions_digest(config: BuildConfig) -> str:
    """Return a digest of the versions (size and time, or the store's checksum) of all files that the lists name.

    It is stored beside the tables, not in their manifests, which contain nothing that differs between machines.
    """
    digest = hashlib.sha256()
    for path in list_paths(config).values():
        for records in read_records(path, RETRIEVAL_LIST):
            paths = records.rows["path"].drop_null().to_pylist()
            for name, version in zip(paths, files.versions(config.source, paths), strict=True):
                digest.update(f"{name}\0{version}\n".encode())
    return digest.hexdigest()


def _recorded(output: str) -> str | None:
    """Return the digest that `finish` has recorded; None if there is none or it is unreadable."""
    path = Layout(output).source_versions
    try:
        record = parse_json(files.read_text(path)) if files.exists(path) else {}
        return str(record["versions"])
    except (KeyError, TypeError, ValueError):  # DataError is a ValueError
        return None


class IngestLists(beam.PTransform):
    """The whole stage as one transform, from a pipeline to three committed tables."""

    def __init__(
        self,
        lists: list[ListPart],
        setup: IngestSetup,
        fetched: Manifest | None,
        about: dict[str, Any],
        finish: Callable[[dict[str, Manifest]], object],
    ) -> None:
        super().__init__()
        self.lists, self.setup, self.fetched, self.finish = lists, setup, fetched, finish
        self.about = {**about, "buckets": setup.buckets}

    def expand(self, pipeline: beam.Pipeline) -> None:
        """Check rows, attach the outcomes of URLs, gather rows by bucket, process images, commit the tables."""
        setup = self.setup
        checked = (
            pipeline
            | "Lists" >> beam.Create(self.lists)
            | "CheckRows" >> beam.FlatMap(check_list_part, setup).with_outputs(URL_BUCKET, main=ROWS)
        )
        rows = checked[ROWS]
        if self.fetched:
            shards = directory.by_bucket(self.fetched.shards, setup.url_buckets)
            outcomes = (
                {
                    "rows": checked[URL_BUCKET],
                    "shards": pipeline
                    | "FetchedShards" >> beam.Create(list(shards.items()), reshuffle=False),
                }
                | "GatherUrls" >> beam.CoGroupByKey()
                | "AttachOutcome" >> beam.FlatMap(attach_outcome, setup)
            )
            rows = (rows, outcomes) | "AllRows" >> beam.Flatten()
        written = (
            rows | "GatherBucket" >> beam.GroupByKey() | "IngestBucket" >> beam.ParDo(IngestBucket(setup))
        )
        folders = setup.layout.ingest_tables
        tables = {name: (folders[name], table.name) for name, table in TABLES.items()}
        _ = written | CommitTables(Commit(tables, self.about, self.finish))


def check_list_part(part: ListPart, setup: IngestSetup) -> Iterator[Any]:
    """Read a part of a list and yield (group of buckets, (ROWS or REJECTIONS, packed rows)).

    Rows with a URL go to the output URL_BUCKET, as (bucket of the URL, packed rows). Many rows are partitioned at once,
    because each packed piece has an overhead of about a kilobyte.
    """
    held: list[tuple[pa.Table, pa.Table]] = []
    for records in read_list(part):
        good, bad = check_rows(records.rows, setup.config.classes, part.source)
        held.append((good, pa.concat_tables([bad, malformed_rows(records.malformed)])))
        if sum(table.num_rows for tables in held for table in tables) >= ROWS_TOGETHER:
            yield from partition_rows(held, part.path, setup)
            held = []
    if held:
        yield from partition_rows(held, part.path, setup)


def partition_rows(held: list[tuple[pa.Table, pa.Table]], path: str, setup: IngestSetup) -> Iterator[Any]:
    """Partition tables of (good rows, rejections) and yield the pieces like `check_list_part`."""
    good, rejected = (pa.concat_tables(tables) for tables in zip(*held, strict=True))
    by_url = pc.is_null(good["path"])
    for index, rows in by_bucket(good.filter(pc.invert(by_url)), setup.groups):
        yield index, (ROWS, pack(rows))
    urls = good.filter(by_url)
    if urls.num_rows and not setup.fetched:
        raise DataError(f"{path}: contains URLs that were not fetched; run the fetch stage first")
    for index, rows in by_bucket(urls, setup.url_buckets, keyed_hash(urls["url"].to_pylist(), 0, "url")):
        yield beam.pvalue.TaggedOutput(URL_BUCKET, (index, pack(rows)))
    for index, rows in by_bucket(rejected, setup.groups, keys_of_rejections(rejected)):
        yield index, (REJECTIONS, pack(rows))


def keys_of_rejections(rejected: pa.Table) -> np.ndarray:
    """Return the shard keys of rejections, from the image_id, or from the location if there is none."""
    ids, locations = rejected["image_id"].to_pylist(), rejected["location"].to_pylist()
    return shard_key(
        location if image_id is None else image_id for image_id, location in zip(ids, locations, strict=True)
    )


def attach_outcome(
    element: tuple[int, dict[str, Iterable[Any]]], setup: IngestSetup
) -> Iterator[tuple[int, tuple[str, bytes]]]:
    """Join rows with the outcomes of their URLs from one bucket of `fetched`; yield rows by group of buckets."""
    assert setup.fetched
    _, gathered = element
    parts = list(gathered["rows"])
    if not parts:
        return
    rows = pa.concat_tables([unpack(part) for part in parts])
    columns = ["url", *(_OUTCOME_SOURCE.get(field.name, field.name) for field in OUTCOME)]
    schema = pa.schema([FETCHED.schema.field(name) for name in columns])
    shards = chain.from_iterable(gathered["shards"])
    fetched = directory.read_bucket(setup.fetched, shards, schema, check_digests=True)
    indices = pc.index_in(rows["url"], fetched["url"])
    if indices.null_count:
        url = rows.filter(pc.is_null(indices))["url"][0].as_py()
        raise DataError(
            f"{setup.fetched}: no row for the URL {url!r} of the lists; run the fetch stage first"
        )
    for field, column in zip(OUTCOME, columns[1:], strict=True):
        rows = rows.append_column(field, fetched[column].take(indices).cast(field.type))
    for group, part in by_bucket(rows, setup.groups):
        yield group, (ROWS, pack(part))


class IngestBucket(beam.DoFn):
    """Write the shards of a group of buckets; output (name of the table, Written), three per bucket."""

    def __init__(self, job: IngestSetup) -> None:
        self.job = job

    def setup(self) -> None:
        """Get the decode pool of this worker process."""
        self.pool = acquire(self.job.config.source, self.job.config.ingest, self.job.decoders)

    def teardown(self) -> None:
        """Release the decode pool."""
        release(self.pool)

    @timed
    def process(self, element: tuple[int, Iterable[tuple[str, bytes]]]) -> Iterator[Any]:
        """Partition the rows by bucket, and process the buckets one after the other."""
        group, parts = element
        buckets, groups = self.job.buckets, self.job.groups
        gathered: dict[str, list[pa.Table]] = {ROWS: [], REJECTIONS: []}
        for table, data in parts:
            gathered[table].append(unpack(data))
        rows = pa.concat_tables([RETRIEVAL.schema.empty_table(), *gathered[ROWS]], promote_options="default")
        rejected = pa.concat_tables([REJECTION.schema.empty_table(), *gathered[REJECTIONS]])
        if buckets == groups:
            yield from self.write_bucket(group, rows, rejected)
            return
        rows_of = dict(by_bucket(rows, buckets))
        rejected_of = dict(by_bucket(rejected, buckets, keys_of_rejections(rejected)))
        for index in sorted({*rows_of, *rejected_of}):
            of_bucket = rows_of.pop(index, rows.slice(0, 0)), rejected_of.pop(index, rejected.slice(0, 0))
            yield from self.write_bucket(index, *of_bucket)

    def write_bucket(self, index: int, rows: pa.Table, rejected: pa.Table) -> Iterator[Any]:
        """Resolve the rows of one bucket, process its images, and write its shards."""
        job, stem = self.job, directory.shard_stem("part", index, self.job.buckets)
        folders = job.layout.ingest_tables
        rejections = [rejected]
        rows_in = rows.num_rows + rejected.num_rows

        rows, unresolved = resolve_rows(rows)
        rejections.append(unresolved)
        wanted = distinct_images(rows)
        advance(rows_in - wanted.num_rows)
        failed: dict[str, Rejected] = {}
        context = BucketContext(self.pool, job.config.ingest, job.config.source, job.layout.bodies, advance)
        images = ingest_images(wanted, context, failed)
        shard = write_shard(folders["images"], stem, IMAGES.schema, images)
        yield "images", Written(shard)

        kept, lost = _split_by_outcome(rows, failed)
        rejections.append(lost)
        shard = write_shard(folders["retrievals"], stem, RETRIEVAL.schema, [kept])
        yield "retrievals", Written(shard, Counter(rows_in=rows_in))

        rejected = pa.concat_tables(rejections).sort_by([("location", "ascending"), ("code", "ascending")])
        shard = write_shard(folders["rejections"], stem, REJECTION.schema, [rejected])
        # The aggregate stage depends only on which images and classes were rejected, not on times.
        pairs = sorted(
            {(r["image_id"] or "", r["class_name"] or "") for r in rejected.select(PAIR).to_pylist()}
        )
        content = hashlib.sha256(json.dumps(pairs).encode()).hexdigest()
        yield "rejections", Written(shard, Counter(rejected["code"].to_pylist()), content)


def _split_by_outcome(rows: pa.Table, failed: dict[str, Rejected]) -> tuple[pa.Table, pa.Table]:
    """Return the rows whose image exists, sorted by shard key and class, and rejections of the others."""
    ids = rows["image_id"].to_pylist()
    has_failed = np.array([image_id in failed for image_id in ids], bool)
    bad, good = (
        rows.filter(pa.array(has_failed)),
        rows.filter(pa.array(~has_failed)).select(RETRIEVAL.schema.names),
    )
    reasons = [failed[image_id] for image_id in bad["image_id"].to_pylist()]
    codes = np.array([reason.code for reason in reasons], object)
    order = np.lexsort((good["class_name"].to_numpy(), shard_key(good["image_id"].to_pylist())))
    details, stats = [reason.detail for reason in reasons], [reason.stats for reason in reasons]
    return good.take(pa.array(order)), reject(bad, codes, details, stats)


def _check_row_count(manifests: dict[str, Manifest]) -> None:
    rows_in = counts(manifests["retrievals"]).get("rows_in", 0)
    if not rows_in:
        raise DataError("the lists contain no rows; check 'clean', 'test' and 'web' in the configuration")
    out = manifests["retrievals"].rows + manifests["rejections"].rows
    if rows_in != out:
        raise DataError(f"{rows_in} rows were read but {out} written; run the stage again with --force")
