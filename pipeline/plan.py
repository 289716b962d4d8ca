"""Inputs of each stage, whether it is up to date, and the dry run."""

from collections.abc import Sequence
from functools import partial
from types import ModuleType
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from common.errors import UsageError
from pipeline import files
from pipeline.config import BuildConfig
from pipeline.ingest.lists import has_urls, list_paths
from pipeline.jobs import aggregate, dedupe, embed, fetch, ingest, split
from pipeline.layout import Layout
from pipeline.records import check_readable
from schemas.fixed_set import FIXED_SET
from schemas.retrieval import RETRIEVAL_LIST

JOBS: dict[str, ModuleType] = {
    "fetch": fetch, "ingest": ingest, "aggregate": aggregate, "embed": embed, "dedupe": dedupe,
    "split": split,
}  # fmt: skip
AFTER = {
    "ingest": ("fetch",),
    "aggregate": ("ingest",),
    "embed": ("ingest",),
    "dedupe": ("ingest", "embed"),
    "split": ("ingest", "aggregate", "embed", "dedupe"),
}
UP_TO_DATE, RUNS, DEPENDS = (
    "up to date",
    "would run",
    "would run unless the earlier stages leave its inputs unchanged",
)
_CHANGING = (RUNS, DEPENDS)
_SECRET = ("secret", "password", "token", "access_key")


def applies(stage: str, config: BuildConfig) -> bool:
    """Whether a build with this configuration has the stage: fetch needs URLs in the lists, embed needs weights."""
    if stage == "fetch":
        return has_urls(config)
    return stage != "embed" or bool(config.embed.weights)


def check_inputs(config: BuildConfig, stages: Sequence[str]) -> None:
    """Read the beginning of all input files of the stages. Raises DataError for the first one that is not valid.

    Raises UsageError if a build is to make sets without a list of clean or of test images, before any stage runs.
    """
    if {"fetch", "ingest"} & set(stages):
        for path in list_paths(config).values():
            check_readable(path, RETRIEVAL_LIST)
    if "aggregate" in stages:
        aggregate.check_inputs(config)
    if {"ingest", "split"} <= set(stages):
        for key in ("clean", "test"):
            if not getattr(config, key):
                raise UsageError(f"{key} names no list, but sets need {key} images; add a list")
    if "split" in stages:
        for name in config.noise.fixed_sets:
            check_readable(files.join(config.source, name), FIXED_SET)


def inputs(stage: str, config: BuildConfig, output: str) -> list[str]:
    """Return the input files and the folders of the tables that a stage reads."""
    layout, lists = Layout(output), list(list_paths(config).values())
    labels = [*config.votes, *([config.aggregate.gold] if config.aggregate.gold else [])]
    named = {"aggregate": labels, "split": config.noise.fixed_sets}.get(stage, ())
    tables = {
        "fetch": lists,
        "ingest": [*lists, *([layout.fetched] if has_urls(config) else [])],
        "aggregate": [layout.retrievals, layout.rejections],
        "embed": [config.embed.weights, layout.images],
        "dedupe": [layout.images, *([layout.features] if dedupe.uses_features(config) else [])],
        "split": list(split.tables_of(config, output).values()),
    }
    return [*(files.join(config.source, name) for name in named), *tables[stage]]


def is_up_to_date(stage: str, config: BuildConfig, output: str, stages: Sequence[str]) -> bool:
    """Whether the tables of a stage are up to date in a run of `stages`.

    Raises DataError if the tables that the stage reads are missing.
    """
    if stage == "fetch":
        return fetch.is_up_to_date(config, output, partial(bodies_needed, config, output, stages))
    if stage in ("ingest", "split"):
        return bool(JOBS[stage].is_up_to_date(config, output))
    return bool(JOBS[stage].stage_of(config, output).is_done(*Layout(output).outputs(stage)))


def bodies_needed(config: BuildConfig, output: str, stages: Sequence[str]) -> bool:
    """Whether stored bodies will be read: by the ingest stage of this run, or after a run of fetch alone."""
    return "ingest" not in stages or not ingest.is_up_to_date(config, output)


def will_write(
    stage: str,
    config: BuildConfig,
    output: str,
    stages: Sequence[str],
    force: bool,
    retry: Sequence[str] = (),
) -> bool:
    """Whether a stage of a run of `stages` writes its tables again, once the earlier stages are up to date.

    Raises DataError if the tables that the stage reads are missing.
    """
    return force or (stage == "fetch" and bool(retry)) or not is_up_to_date(stage, config, output, stages)


def job_key(stage: str, config: BuildConfig, output: str) -> str:
    """Return the digest of a stage's output; for ingest, it covers the files that the lists name."""
    key = str(JOBS[stage].stage_of(config, output).about["made_from"])
    return f"{key}-{ingest.versions_digest(config)}" if stage == "ingest" else key


def dry_run(
    config: BuildConfig,
    output: str,
    options: PipelineOptions,
    stages: Sequence[str],
    force: bool,
    retry: Sequence[str] = (),
) -> dict[str, Any]:
    """Describe what a build would do: the runner, Beam's options that are not defaults, and the state of each stage.

    `retry`: rejection codes whose URLs are fetched again, for which the stage fetch always runs. The state of a stage that
    reads tables of a stage that would run is open, because its inputs are not known yet.
    """
    result: dict[str, Any] = {
        "runner": options.view_as(StandardOptions).runner or "FnApiRunner",
        "options": _shown(options),
        "stages": {},
    }
    for name in stages:
        if not applies(name, config):
            continue
        depends = any(
            result["stages"].get(each, {}).get("state") in _CHANGING for each in AFTER.get(name, ())
        )
        if depends and not force:
            state = DEPENDS
        else:
            writes = will_write(name, config, output, stages, force, retry)
            state = RUNS if writes else UP_TO_DATE
        result["stages"][name] = {
            "state": state,
            "reads": inputs(name, config, output),
            "writes": list(Layout(output).outputs(name)),
        }
    return result


def _shown(options: PipelineOptions) -> dict[str, Any]:
    """Return the options that are not defaults, with secrets masked."""
    given = options.get_all_options(drop_default=True)
    return {
        name: "***" if any(word in name for word in _SECRET) else value
        for name, value in sorted(given.items())
        if value is not None
    }
