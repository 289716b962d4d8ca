"""The fetch job: URLs of the lists → the table `fetched` and stored bodies. The only stage that uses the network.

A task is a group of hosts, so that the limits per host hold for the whole run (pipeline/fetch/host_groups.py). In each
round, one task is responsible for a host: the first round has the groups, the second the shares of hosts that are too
large for one task, the third the redirects to hosts of other groups, by group. The last round is a single task, which
follows all remaining redirects.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

from pipeline import files
from pipeline.config import BuildConfig
from pipeline.fetch.fetch_all import url_host_key
from pipeline.fetch.fetch_task import FIRST, LAST, OTHER, WANTED, Position, RunTerms, run_task
from pipeline.fetch.host_groups import TaskKey, group_count, groups_of
from pipeline.fetch.journal import BODIES, JOURNAL, fetch_rules, next_run, read_journal
from pipeline.ingest.lists import ListPart, has_urls, list_parts, list_paths, read_list
from pipeline.ingest.rows import check_rows
from pipeline.jobs.tables import Commit, CommitTables, Written, pack, unpack
from pipeline.keyed_hash import bucket_count, by_bucket, by_key, keyed_hash
from pipeline.layout import Layout
from pipeline.records import check_readable
from pipeline.running.metrics import count, timed
from pipeline.running.options import is_local
from pipeline.running.progress import advance, set_waiting_for
from pipeline.running.run import JobSpec, run_job
from pipeline.running.stage import Stage, StageResult, counts
from pipeline.shards import commit, directory
from pipeline.shards.parquet import write_shard
from schemas.fetched import FETCHED
from schemas.retrieval import RETRIEVAL_LIST

URLS_PER_SHARD = 1 << 16


def drop_bodies(output: str) -> None:
    """Remove all stored bodies; the outcome of each URL stays recorded."""
    folder = Layout(output).bodies
    for name in files.names(folder, f"*{BODIES}"):
        files.remove(files.join(folder, name))


def stage_of(config: BuildConfig, _output: str) -> Stage:
    """Return the stage with its present inputs and configuration."""
    digests = {key: files.sha256(path) for key, path in list_paths(config).items()}
    return Stage("fetch", {**digests, "rules": fetch_rules(config)}, config)


def is_up_to_date(config: BuildConfig, output: str, bodies_needed: Callable[[], bool]) -> bool:
    """Return whether the stage has nothing to fetch: its table is complete, and so are the bodies if they are needed.

    bodies_needed: whether the bodies will be read; they may have been removed if `fetch.keep_bodies` is false.
    """
    layout = Layout(output)
    if not stage_of(config, output).is_done(layout.fetched):
        return False
    if not counts(directory.read_manifest(layout.fetched)).get("bodies"):
        return True
    return _has_bodies(layout) or not bodies_needed()


def _has_bodies(layout: Layout) -> bool:
    """Return whether all files of bodies that the table names are there: a killed `drop_bodies` leaves some of them."""
    stored = {*files.names(layout.bodies, f"*{BODIES}")}
    if not stored:
        return False
    return all(
        stored.issuperset(pc.unique(rows["body_file"]).drop_null().to_pylist())
        for rows in directory.read_shards(layout.fetched, ["body_file"])
    )


def run(
    config: BuildConfig,
    output: str,
    beam_arguments: list[str],
    force: bool = False,
    retry: Sequence[str] = (),
    bodies_needed: Callable[[], bool] = lambda: True,
) -> StageResult | None:
    """Run the stage unless it is up to date; return None if the lists have no URLs.

    retry: rejection codes of fetch or ingest; the URLs of these rejections are fetched again. force: check all stored
    bodies, and fetch damaged ones again. bodies_needed: as in `is_up_to_date`.

    Raises DataError if a list or a journal is unreadable, or if `fetch.contact` is empty.
    """
    if not has_urls(config):
        return None
    paths, layout = list_paths(config), Layout(output)
    stage = stage_of(config, output)
    up_to_date = not force and not retry and is_up_to_date(config, output, bodies_needed)
    if not up_to_date:
        for path in paths.values():
            check_readable(path, RETRIEVAL_LIST)
        lists = list_parts(config)
        urls = sum(part.part.rows for part in lists)
        journals = sorted(files.names(layout.bodies, f"*{JOURNAL}"))
        local = is_local(beam_arguments)
        terms = RunTerms(
            config.fetch,
            config.ingest.max_bytes,
            layout.bodies,
            next_run(journals),
            fetch_rules(config),
            1 if local else group_count(urls),
            frozenset(retry),
            check_bodies=force,
            cut_hosts=not local,
        )
        again = _locations_to_retry(layout.rejections, retry)
        commit.prepare(layout.fetched)
        buckets = bucket_count(urls, URLS_PER_SHARD)
        job = FetchUrls(lists, config.classes, terms, journals, again, layout.fetched, buckets, stage.about)
        work = JobSpec("fetch", output, "URLs", urls)
        run_job(lambda pipeline: pipeline | "Fetch" >> job, beam_arguments, work)
    return StageResult({"fetched": directory.read_manifest(layout.fetched)}, up_to_date)


def _locations_to_retry(rejections: str, retry: Sequence[str]) -> frozenset[str]:
    """Return the locations of rows that the last ingest stage rejected with one of these codes."""
    if not retry or directory.find_manifest(rejections) is None:
        return frozenset()
    locations: set[str] = set()
    for table in directory.read_shards(rejections, ["location", "code"]):
        locations.update(
            table.filter(pc.is_in(table["code"], pa.array(sorted(retry))))["location"].to_pylist()
        )
    return frozenset(locations)


class FetchUrls(beam.PTransform):
    """The whole stage as one transform, from a pipeline to the committed table `fetched`.

    lists: the parts of all lists. again: locations of rows whose URLs are fetched again. journals: names of the journals
    of earlier runs.
    """

    def __init__(
        self,
        lists: list[ListPart],
        classes: tuple[str, ...],
        terms: RunTerms,
        journals: list[str],
        again: frozenset[str],
        folder: str,
        buckets: int,
        about: dict[str, Any],
    ) -> None:
        super().__init__()
        self.lists, self.classes, self.terms = lists, classes, terms
        self.journals, self.again = journals, again
        self.folder, self.buckets, self.about = folder, buckets, {**about, "buckets": buckets}

    def expand(self, pipeline: beam.Pipeline) -> None:
        """Lists and journals → by group of hosts → rounds of tasks → rows by URL → shards."""
        groups = self.terms.groups
        wanted = (
            pipeline
            | "Lists" >> beam.Create(self.lists)
            | "ReadUrls" >> beam.FlatMap(read_urls, self.classes, self.again, groups)
        )
        known = (
            pipeline
            | "Journals" >> beam.Create(self.journals)
            | "ReadJournal" >> beam.FlatMap(read_known, self.terms.folder, groups)
        )
        work = (wanted, known) | "WantedAndKnown" >> beam.Flatten()
        if groups == 1 and not self.terms.cut_hosts:  # on one machine, one task fetches everything
            rows = [self._round("Everything", work, LAST).rows]
        else:
            of_groups = self._round("Groups", work, FIRST)
            of_shares = self._round("Shares", of_groups.shares, OTHER)
            redirects = (of_groups.redirects, of_shares.redirects) | "Elsewhere" >> beam.Flatten()
            of_redirects = self._round("Redirects", redirects, OTHER)
            remaining = of_redirects.redirects | "Together" >> beam.Map(lambda part: ((0, "", 0, 1), part[1]))
            rest = self._round("Rest", remaining, LAST)
            rows = [done.rows for done in (of_groups, of_shares, of_redirects, rest)]
        _ = (
            rows
            | "Rows" >> beam.Flatten()
            | "GatherBucket" >> beam.GroupByKey()
            | "WriteBucket" >> beam.ParDo(WriteBucket(self.folder, self.buckets))
            | CommitTables(Commit({FETCHED.name: (self.folder, FETCHED.name)}, self.about))
        )

    def _round(self, name: str, work: beam.PCollection, position: Position) -> Any:
        """Run a round of tasks: (key, part) → rows, and parts for later rounds."""
        task = beam.ParDo(RunTask(self.terms, self.buckets, position))
        gathered = work | f"Gather{name}" >> beam.GroupByKey()
        return gathered | f"Fetch{name}" >> task.with_outputs("shares", "redirects", main="rows")


def read_urls(
    part: ListPart, classes: tuple[str, ...], again: frozenset[str], groups: int
) -> Iterator[tuple[TaskKey, tuple[str, bytes]]]:
    """Yield the distinct URLs of the valid rows of a part of a list, by the group of their host."""
    for records in read_list(part):
        rows, _ = check_rows(records.rows, classes, part.source)
        rows = rows.filter(pc.and_(pc.is_null(rows["path"]), pc.is_valid(rows["url"])))
        is_again = pc.is_in(rows["location"], pa.array(sorted(again), pa.string()))
        wanted = (
            pa.table([rows["url"], is_again], schema=WANTED).group_by("url").aggregate([("again", "max")])
        )
        yield from _by_group(wanted.rename_columns(WANTED.names), "wanted", groups)


def read_known(name: str, folder: str, groups: int) -> Iterator[tuple[TaskKey, tuple[str, bytes]]]:
    """Yield the rows of one journal of an earlier run, by the group of their host."""
    yield from _by_group(read_journal(folder, name), "known", groups)


def _by_group(rows: pa.Table, kind: str, groups: int) -> Iterator[tuple[TaskKey, tuple[str, bytes]]]:
    if not rows.num_rows:
        return
    group_of_row = np.array(groups_of([url_host_key(url) for url in rows["url"].to_pylist()], groups))
    for group, part in by_key(rows, group_of_row):
        yield (group, "", 0, 1), (kind, pack(part))


class RunTask(beam.DoFn):
    """Run one task; output rows of `fetched` by the bucket of their URL, and "shares" and "redirects" for later rounds."""

    def __init__(self, terms: RunTerms, buckets: int, position: Position) -> None:
        self.terms, self.buckets, self.position = terms, buckets, position

    @timed
    def process(self, element: tuple[TaskKey, Iterable[tuple[str, bytes]]]) -> Iterator[Any]:
        """Fetch everything before the first output, so that a failing task outputs nothing."""
        key, packed = element
        parts: defaultdict[str, list[pa.Table]] = defaultdict(list)
        for kind, data in packed:
            parts[kind].append(unpack(data))
        results = run_task(key, parts, self.terms, self.position, advance, set_waiting_for)
        for name, amount in results.counts.items():
            count(name, amount)
        for name, later in (("shares", results.shares), ("redirects", results.redirects)):
            for key, kind, table in later:
                yield beam.pvalue.TaggedOutput(name, (key, (kind, pack(table))))
        for rows in results.rows:
            for index, part in by_bucket(rows, self.buckets, shard_keys(rows)):
                yield index, pack(part)


class WriteBucket(beam.DoFn):
    """Write one shard of the table, sorted by the shard key of its URLs."""

    def __init__(self, folder: str, buckets: int) -> None:
        self.folder, self.buckets = folder, buckets

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[tuple[str, Written]]:
        """Write the shard; its digest excludes times, so that the same responses give the same digest."""
        index, parts = element
        rows = pa.concat_tables([unpack(part) for part in parts])
        rows = rows.take(pa.array(np.argsort(shard_keys(rows), kind="stable")))
        stem = directory.shard_stem("part", index, self.buckets)
        shard = write_shard(self.folder, stem, FETCHED.schema, [rows])
        counts = Counter(rows["code"].drop_null().to_pylist())
        counts["bodies"] = pc.count(rows["offset"]).as_py()
        yield FETCHED.name, Written(shard, counts, content_digest(rows))


def shard_keys(rows: pa.Table) -> np.ndarray:
    """Return the shard keys of the URLs of rows, uint64 (n,)."""
    return keyed_hash(rows["url"].to_pylist(), 0, "url")


def content_digest(rows: pa.Table) -> str:
    """Return a digest of URLs, codes and body digests; it excludes times, attempts and offsets."""
    columns = [rows[name].to_pylist() for name in ("url", "code", "sha256")]
    return hashlib.sha256(json.dumps(columns).encode()).hexdigest()
