"""Run the stages of a build in order, each only if its inputs or its configuration changed."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from pipeline import files, plan
from pipeline.config import BuildConfig
from pipeline.jobs import aggregate, dedupe, embed, fetch, ingest, sets, split
from pipeline.layout import Layout
from pipeline.running.dataflow_jobs import Submission, attach, refuse_conflicting_job, unfinished_jobs
from pipeline.running.lock import build_lock
from pipeline.running.options import is_dataflow
from pipeline.running.preflight import checked_options
from pipeline.running.progress import stage_line
from pipeline.running.stage import StageResult
from pipeline.running.summary import result_notes, stage_counts, stage_sentence
from pipeline.shards.commit import check_dataset_owned, check_owned, remove_leftovers


def run(
    config: BuildConfig,
    output: str,
    beam_arguments: list[str],
    stages: Sequence[str],
    force: bool,
    say: Callable[[str], None],
    retry: Sequence[str] = (),
) -> dict[str, Any]:
    """Run `stages` in order, pass a line about each to `say`, and return `up_to_date` and the counts of each stage.

    `retry` lists rejection codes: URLs whose rows were rejected with one of them are fetched again. Raises UsageError if
    another process builds in the same folder or the launch is wrong; these checks precede any change of a file.
    """
    options = check(config, output, beam_arguments, stages)
    jobs: dict[str, Callable[..., StageResult | None]] = {
        "fetch": partial(
            fetch.run, retry=retry, bodies_needed=partial(plan.bodies_needed, config, output, stages)
        ),
        "ingest": ingest.run,
        "aggregate": aggregate.run,
        "embed": embed.run,
        "dedupe": dedupe.run,
        "split": split.run,
    }
    result: dict[str, Any] = {}
    with build_lock(output):
        for name in stages:
            start = time.monotonic()
            writes = partial(plan.will_write, name, config, output, stages, force, retry)
            arguments, is_written = _launch(name, config, output, options, beam_arguments, writes)
            done = jobs[name](config, output, arguments, force and not is_written)
            if done is None:  # the build has no such stage
                continue
            if done.up_to_date:
                _remove_leftovers(name, output)
            counts = stage_counts(name, done.manifests)
            result[name] = {"up_to_date": done.up_to_date, **counts}
            sentence = f"{stage_sentence(name, counts)} ({time.monotonic() - start:.1f} s)"
            say(stage_line(name, "up to date" if done.up_to_date else sentence))
            for note in done.notes:
                say(stage_line("", note))
            for line in result_notes(name, config, done.manifests):
                say(line)
    if "split" in stages:
        dataset = Layout(output).dataset
        say(stage_line("dataset", dataset))
        result["dataset"] = dataset
    return result


def _check_owned(output: str, stages: Sequence[str]) -> None:
    """Raise DataError if a folder that a stage writes contains files that no build has written."""
    for name in stages:
        for folder in Layout(output).outputs(name):
            check = check_dataset_owned if folder == Layout(output).dataset else check_owned
            check(folder)


def check(
    config: BuildConfig, output: str, beam_arguments: list[str], stages: Sequence[str]
) -> PipelineOptions:
    """Check a launch without writing or submitting anything, and return Beam's resolved options.

    Raises UsageError for wrong flags and DataError for missing or unreadable input files.
    """
    files.check_output(output)
    paths = {"--output": output, "source": config.source}
    if "embed" in stages and plan.applies("embed", config):
        paths["embed.weights"] = config.embed.weights
    options = checked_options(beam_arguments, paths)
    plan.check_inputs(config, stages)
    if "embed" in stages:
        embed.check(config, output, beam_arguments)
    _check_owned(output, stages)
    return options


def _launch(
    name: str,
    config: BuildConfig,
    output: str,
    options: PipelineOptions,
    beam_arguments: list[str],
    writes: Callable[[], bool],
) -> tuple[list[str], bool]:
    """Refuse to disturb a job that an earlier command left running, and attach to a running job of this stage.

    `writes` returns whether the stage will write its tables; it is called only if there may be such a job. Return the
    flags of this stage's job, and whether a job that was attached to has written the output of the stage.
    """
    if not plan.applies(name, config):
        return beam_arguments, False
    if unfinished_jobs(output) and writes():
        refuse_conflicting_job(name, output, include_own=not is_dataflow(options))
    if not is_dataflow(options) or options.view_as(GoogleCloudOptions).template_location:
        return beam_arguments, False
    key = plan.job_key(name, config, output)
    is_written = attach(options, Submission(name, key, output))
    return [*beam_arguments, f"--job_key={name}:{key}"], is_written


def _remove_leftovers(stage: str, output: str) -> None:
    """Remove what an interrupted commit of a stage left, now that its tables are up to date.

    Nothing is removed while a job may be running: its shards look the same.
    """
    if unfinished_jobs(output):
        return
    for folder in Layout(output).outputs(stage):
        remove_leftovers(folder)
    if stage == "split":
        sets.remove_leftovers(Layout(output).dataset)
