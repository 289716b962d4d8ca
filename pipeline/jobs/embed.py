"""The embed job: images → features of a frozen network, reused for images that did not change.

A task reads one shard of images and writes one shard of features. Tasks call the network themselves instead of passing
images to Beam's RunInference: the rows of a shard then stay together and in order, and batches do not depend on the
engine, which RunInference cuts by measured speed.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import apache_beam as beam
import pyarrow as pa

from common.errors import DataError
from pipeline import files
from pipeline.config import BuildConfig
from pipeline.embed.bucket import embed_images
from pipeline.embed.features import is_feature_table
from pipeline.embed.loading import close_network, network_libraries, open_network
from pipeline.embed.spec import NetworkSpec, check_weights
from pipeline.jobs.tables import Commit, CommitTables, Written
from pipeline.layout import Layout
from pipeline.running import metrics, metrics_file
from pipeline.running.metrics import timed
from pipeline.running.options import runs_in_this_process
from pipeline.running.progress import advance
from pipeline.running.run import JobSpec, run_job
from pipeline.running.stage import STAGE_VERSIONS, Stage, StageResult, library_versions, manifest_digest
from pipeline.shards import commit, directory, packing
from pipeline.shards.parquet import DIGEST_DIGITS, write_shard
from schemas.feature import FEATURE, FEATURES
from schemas.manifest import Manifest, Shard

SECONDS_PER_IMAGE = 1e-2  # CPU time of a small network
_PARTIAL = re.compile(rf"part-\d{{5,}}-of-\d{{5,}}-([0-9a-f]{{{DIGEST_DIGITS}}})\.arrow")


@dataclass(frozen=True)
class Bucket:
    """A shard of images, and what may hold features of these images: shards of the present table, and partial files."""

    images: Shard
    features: tuple[Shard, ...] = ()
    partial: tuple[str, ...] = ()


@dataclass(frozen=True)
class EmbedSetup:
    """Settings that all tasks of the job share. key: digest of all that decides the features of an image."""

    layout: Layout
    network: NetworkSpec
    key: str

    @property
    def partial(self) -> str:
        """Folder of the features of finished buckets, from which an interrupted stage continues."""
        return files.join(self.layout.partial_features, self.key)


def network_spec(config: BuildConfig) -> NetworkSpec:
    """Return the network of a configuration. Raises UsageError or DataError if its weights are no safetensors file."""
    embed = config.embed
    check_weights(embed.network, embed.weights)
    return NetworkSpec(
        embed.network,
        embed.weights,
        files.sha256(embed.weights),
        embed.size,
        embed.resize,
        embed.interpolation,
        embed.mean,
        embed.std,
        embed.batch_size,
        embed.precision,
    )


def stage_of(config: BuildConfig, output: str) -> Stage:
    """Return the stage for the present inputs and configuration. Raises DataError if ingest has not been run."""
    weights = network_spec(config).weights_sha256
    return Stage("embed", {"images": manifest_digest(Layout(output).images), "weights": weights}, config)


def check(config: BuildConfig, output: str, beam_arguments: list[str]) -> None:
    """Check the weights and, if the stage will run in this process, load the network before any stage runs.

    Raises UsageError or DataError if the weights are not those of the network, or if libraries are missing.
    """
    if not config.embed.weights:
        return
    spec = network_spec(config)
    if runs_in_this_process(beam_arguments) and not _is_done(config, output):
        try:
            open_network(spec)
        finally:
            close_network()


def _is_done(config: BuildConfig, output: str) -> bool:
    layout = Layout(output)
    if directory.valid_manifest(layout.images) is None:
        return False
    return stage_of(config, output).is_done(layout.features)


def run(
    config: BuildConfig, output: str, beam_arguments: list[str], force: bool = False
) -> StageResult | None:
    """Run the stage unless it is up to date; return None if `embed.weights` is not set.

    Features of unchanged images are reused, from the present table and from an interrupted run, unless `force` is true.
    """
    if not config.embed.weights:
        return None
    layout, stage = Layout(output), stage_of(config, output)
    up_to_date = not force and stage.is_done(layout.features)
    notes: list[str] = []
    if not up_to_date:
        spec = network_spec(config)
        key = spec.key(STAGE_VERSIONS["embed"], library_versions(), network_libraries())
        setup = EmbedSetup(layout, spec, key)
        _remove_partial(setup, everything=force)
        commit.prepare(layout.features)
        images = directory.read_manifest(layout.images)
        job = EmbedImages(_buckets(images, setup, reuse=not force), setup, stage.about)
        work = JobSpec("embed", output, "images", images.rows, images.rows * SECONDS_PER_IMAGE)
        try:
            run_job(lambda pipeline: pipeline | "Embed" >> job, beam_arguments, work)
        finally:
            close_network()
        if reused := metrics_file.read(output, "embed").get("counters", {}).get("embed.reused"):
            notes = [f"features of {reused:,} unchanged images were reused"]
    return StageResult({"features": directory.read_manifest(layout.features)}, up_to_date, notes)


def _buckets(images: Manifest, setup: EmbedSetup, reuse: bool) -> list[Bucket]:
    """Return the buckets of a table of images, each with the shards and partial files that overlap it."""
    if not reuse:
        return [Bucket(shard) for shard in images.shards]
    present = directory.valid_manifest(setup.layout.features)
    usable = present.shards if present and present.about.get("features_key") == setup.key else ()
    partial = [name for name in files.names(setup.partial, "*.arrow") if _PARTIAL.fullmatch(name)]
    return [
        Bucket(
            shard,
            tuple(each for each in usable if _overlap(shard.file, each.file)),
            tuple(sorted(name for name in partial if _overlap(shard.file, name))),
        )
        for shard in images.shards
    ]


def _overlap(file: str, other: str) -> bool:
    """Whether two buckets, given by the names of their shards, have shard keys in common."""
    (index, total), (other_index, other_total) = map(directory.shard_position, (file, other))
    return index * other_total < (other_index + 1) * total and other_index * total < (index + 1) * other_total


def _remove_partial(setup: EmbedSetup, everything: bool = False) -> None:
    """Remove the partial features of other networks and inputs, or all of them."""
    folder = setup.layout.partial_features
    if everything:
        files.remove_folder(folder)
        return
    for name, size in files.entries(folder).items():
        if size is None and name != setup.key:
            files.remove_folder(files.join(folder, name))


class EmbedImages(beam.PTransform):
    """The whole stage as one transform, from a pipeline to the committed feature table."""

    def __init__(self, buckets: list[Bucket], setup: EmbedSetup, about: dict[str, Any]) -> None:
        super().__init__()
        self.buckets, self.setup = buckets, setup
        self.about = {**about, "features_key": setup.key}

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Compute the features of each bucket, then commit the table."""
        written = (
            pipeline
            | "Buckets" >> beam.Create(self.buckets)
            | "EmbedBucket" >> beam.ParDo(EmbedBucket(self.setup))
        )
        tables = {FEATURE.name: (self.setup.layout.features, FEATURE.name)}
        finish = partial(remove_partial_features, self.setup.layout.partial_features)
        return written | CommitTables(Commit(tables, self.about, finish))


def remove_partial_features(folder: str, _manifests: dict[str, Manifest]) -> None:
    """Remove the partial features after the table is committed."""
    files.remove_folder(folder)


class EmbedBucket(beam.DoFn):
    """Write the features of one shard of images; output (name of the table, Written)."""

    def __init__(self, job: EmbedSetup) -> None:
        self.job = job

    @timed
    def process(self, bucket: Bucket) -> Iterator[tuple[str, Written]]:
        """Compute features that are not known, store them for a later attempt, and write the shard."""
        job, images = self.job, bucket.images
        index, total = directory.shard_position(images.file)
        stem = directory.shard_stem("part", index, total)
        rows = directory.read_shard(job.layout.images, images, ["image_id", "image"], check_digests=True)
        features, computed = embed_images(
            rows,
            known_features(bucket, job),
            partial(open_network, job.network),
            job.network.batch_size,
            advance,
        )
        if computed:
            write_partial(features, stem, job.partial)
        metrics.count("embed.computed", computed)
        metrics.count("embed.reused", features.num_rows - computed)
        shard = write_shard(job.layout.features, stem, features.schema, [features])
        values = features.num_rows * features.schema.field(FEATURES).type.list_size
        yield FEATURE.name, Written(shard, Counter(values=values))


def write_partial(features: pa.Table, stem: str, folder: str) -> None:
    """Store the features of a bucket in a file whose name holds its digest."""
    data = packing.pack(features)
    digest = hashlib.sha256(data).hexdigest()[:DIGEST_DIGITS]
    with files.replace(files.join(folder, f"{stem}-{digest}.arrow")) as file:
        file.write(data)


def known_features(bucket: Bucket, job: EmbedSetup) -> Iterator[pa.Table]:
    """Yield feature tables that may cover images of a bucket; damaged and missing ones are left out."""
    for shard in bucket.features:
        try:
            table = directory.read_shard(job.layout.features, shard, check_digests=True)
        except DataError:
            continue
        if is_feature_table(table):
            yield table
    for name in bucket.partial:
        match = _PARTIAL.fullmatch(name)
        try:
            with files.open_read(files.join(job.partial, name)) as file:
                data = file.read()
        except DataError:
            continue
        if match and hashlib.sha256(data).hexdigest().startswith(match[1]):
            yield packing.unpack(data)
