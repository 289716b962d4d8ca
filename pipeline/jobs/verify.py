"""The verification of a dataset as a Beam job: a task checks one bucket of all sets."""

import json
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from tempfile import TemporaryDirectory
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.options.pipeline_options import GoogleCloudOptions

from common.errors import UsageError
from common.json_records import parse_stored
from pipeline import files
from pipeline.jobs.gather import GatherAll
from pipeline.running import metrics
from pipeline.running.options import beam_options, runs_in_this_process
from pipeline.running.preflight import checked_options
from pipeline.running.progress import advance
from pipeline.running.run import JobSpec, run_job
from pipeline.running.worker_setup import runs_in_containers
from pipeline.verify.bucket import check_bucket
from pipeline.verify.clean_images import check_clean_images
from pipeline.verify.dataset import Verification, conclude
from pipeline.verify.leaks import Leaks, find_near_leaks, join_hashes, near_keys, read_near
from pipeline.verify.plan import Bucket, VerificationPlan, plan_verification
from pipeline.verify.tally import Tally

SECONDS_PER_IMAGE = 4e-4  # of a core, to decode and fingerprint a small image


def run(dataset: str, beam_arguments: list[str]) -> Verification:
    """Verify a dataset on a runner of Beam; the result equals that of `pipeline.verify.dataset.verify`.

    The job writes its result to a file in --temp_location, or in a temporary folder of this machine.
    """
    with TemporaryDirectory() as folder:
        shared = _temporary_folder(beam_arguments) or folder
        options = checked_options(beam_arguments, {"DATASET": dataset, "--temp_location": shared})
        if options.view_as(GoogleCloudOptions).template_location:
            raise UsageError(
                "--template_location: verify cannot be written as a template; leave the flag out"
            )
        output = files.join(shared, f"verify-{secrets.token_hex(8)}")
        plan, buckets = plan_verification(dataset)
        images = max((each.rows for each in plan.sets.values()), default=0)
        spec = JobSpec("verify", output, "buckets", len(buckets), images * SECONDS_PER_IMAGE)
        result = files.join(output, "result.json")
        job = VerifyDataset(plan, buckets, result, None if runs_in_this_process(beam_arguments) else 1)
        try:
            run_job(lambda pipeline: pipeline | "Verify" >> job, beam_arguments, spec)
            return parse_stored(Verification, files.read_text(result), result, "run verify again")
        finally:
            files.remove_folder(output)


def _temporary_folder(beam_arguments: list[str]) -> str | None:
    """Return the folder --temp_location. Raises UsageError if it is missing and workers reach no folder of this machine."""
    options = beam_options(beam_arguments)
    folder: str | None = options.view_as(GoogleCloudOptions).temp_location
    if not folder and runs_in_containers(options):
        raise UsageError(
            "verify: --temp_location is missing; the workers of this runner write the result there, so add "
            "--temp_location URL, such as gs://BUCKET/temp"
        )
    return folder


class VerifyDataset(beam.PTransform):
    """The whole verification as one transform, from a pipeline to the file with the result.

    threads: number of threads of one task that searches leaks, None for one per core.
    """

    def __init__(
        self, plan: VerificationPlan, buckets: list[Bucket], result: str, threads: int | None
    ) -> None:
        super().__init__()
        self.plan, self.buckets, self.result, self.threads = plan, buckets, result, threads

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Check buckets; group what crosses them: clean images, and hashes of training images; then look at near images."""
        buckets = pipeline | "Buckets" >> beam.Create(self.buckets)
        checked = buckets | "CheckBucket" >> beam.FlatMap(check, self.plan).with_outputs(
            "clean_images", "test_hashes", "training_hashes", main="tallies"
        )
        across = (
            checked.clean_images
            | "GroupCleanImages" >> beam.GroupByKey()
            | "CheckCleanImages" >> beam.Map(check_group, self.plan)
        )
        tally = (
            (checked.tallies, across)
            | "Tallies" >> beam.Flatten()
            | "Add" >> beam.CombineGlobally(AddTallies())
        )
        test = checked.test_hashes | "JoinTest" >> GatherAll(join_hashes)
        near = (
            checked.training_hashes
            | "GroupTraining" >> beam.GroupByKey()
            | "SearchGroup" >> beam.Map(search_group, self.plan, self.threads, beam.pvalue.AsSingleton(test))
            | "JoinKeys" >> GatherAll(join_keys)
        )
        leaks = (
            buckets
            | "ReadNear" >> beam.FlatMap(read_near_images, self.plan, beam.pvalue.AsSingleton(near))
            | "FindLeaks" >> GatherAll(find_near_leaks, self.plan)
        )
        return tally | "WriteResult" >> beam.Map(
            write_result, self.plan, self.result, beam.pvalue.AsSingleton(leaks)
        )


class AddTallies(beam.CombineFn):
    """Add up the sums over buckets; they do not depend on the order."""

    def create_accumulator(self) -> Tally:
        """Return no sums."""
        return Tally()

    def add_input(self, accumulator: Tally, tally: Tally) -> Tally:
        """Add the sums of one task."""
        accumulator.merge(tally)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[Tally]) -> Tally:
        """Add the sums of several workers."""
        total = Tally()
        for accumulator in accumulators:
            total.merge(accumulator)
        return total

    def extract_output(self, accumulator: Tally) -> Tally:
        """Return the sums."""
        return accumulator


def check(bucket: Bucket, plan: VerificationPlan) -> Iterator[Any]:
    """Check one bucket; yield its sums, and as tagged outputs what other tasks need of it."""
    result = check_bucket(bucket, plan)
    yield result.tally
    for group, rows in result.clean_images.items():
        yield _shuffled("clean_images", (group, rows), rows)
    if result.test_hashes:
        yield _shuffled("test_hashes", result.test_hashes, result.test_hashes)
    if result.training_hashes:
        element = (result.training_group, result.training_hashes)
        yield _shuffled("training_hashes", element, result.training_hashes)
    metrics.count("verified_images", result.tally.counts[("images",)])
    advance(1)


def _shuffled(tag: str, element: Any, data: bytes) -> beam.pvalue.TaggedOutput:
    metrics.count("shuffled_bytes", len(data))
    return beam.pvalue.TaggedOutput(tag, element)


def check_group(element: tuple[int, Iterable[bytes]], plan: VerificationPlan) -> Tally:
    """Check the clean images of one group."""
    return check_clean_images(element[1], plan)


def search_group(
    element: tuple[int, Iterable[bytes]], plan: VerificationPlan, threads: int | None, test: pa.Table | None
) -> np.ndarray:
    """Return the shard keys of near images of one group."""
    assert plan.rules, "hashes were made by rules"
    return near_keys(test, element[1], plan.rules, threads)


def join_keys(keys: list[np.ndarray]) -> np.ndarray:
    """Return the shard keys of all groups, each once."""
    return np.unique(np.concatenate([np.empty(0, np.uint64), *keys]))


def read_near_images(bucket: Bucket, plan: VerificationPlan, keys: np.ndarray) -> list[bytes]:
    """Return the fingerprints of the near images of one bucket, if it has any."""
    rows = read_near(bucket, plan, keys)
    return [rows] if rows else []


def write_result(tally: Tally, plan: VerificationPlan, path: str, leaks: Leaks) -> None:
    """Write the result of the job."""
    files.write_text(path, json.dumps(asdict(conclude(plan, tally, leaks)), ensure_ascii=False))
