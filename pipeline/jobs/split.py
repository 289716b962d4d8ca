"""The split job: tables of the earlier stages and noise levels → training and test sets as shards.

The submitting machine plans the sets here, without images; the tasks of pipeline/jobs/sets.py write them.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

from common.errors import DataError
from pipeline import files
from pipeline.config import BuildConfig
from pipeline.dedupe.leak_search import leak_proof
from pipeline.jobs.sets import DatasetJob, WriteSets, is_whole, set_names
from pipeline.keyed_hash import bucket, bucket_count, by_bucket, shard_key
from pipeline.layout import Layout
from pipeline.noise.examples import (
    COUNTED,
    ExamplePool,
    class_noise,
    classes_without_clean,
    count_licenses,
    noise_by_class,
    noise_of_set,
    test_examples,
    training_examples,
)
from pipeline.noise.fixed_sets import FixedSet, fixed_sets
from pipeline.noise.instance.flips import instance_flips
from pipeline.noise.pools import DRAW_COLUMNS, EXAMPLE_COLUMNS, VERDICT_COLUMNS, Pools, collect_pools
from pipeline.noise.training_sets import TrainingSet, training_sets
from pipeline.noise.true_level import TrueLevels
from pipeline.noise_config import PAPER_LEVELS
from pipeline.records import read_records
from pipeline.running.run import JobSpec, run_job
from pipeline.running.stage import (
    STAGE_VERSIONS,
    Stage,
    StageResult,
    counts,
    library_versions,
    manifest_digest,
)
from pipeline.shards import commit, directory
from pipeline.shards.changes import changes, interrupted_report
from pipeline.shards.feature_parts import FeatureParts
from pipeline.shards.parquet import LIST_ROW_GROUP_ROWS, StagedShard, write_shard
from pipeline.shards.plan import (
    PLANNED_SCHEMA,
    ContentDigests,
    SetPlan,
    below_level,
    planned_examples,
    used_images,
)
from pipeline.shards.split_inputs import SplitInputs
from schemas.error_model import ERROR_MODEL
from schemas.example import SHARED_IMAGES, TEST_SET
from schemas.fixed_set import FIXED_SET

SECONDS_PER_EXAMPLE = 2e-6  # of a core, beside the threads of a worker


def tables_of(config: BuildConfig, output: str) -> dict[str, str]:
    """Return the folders of the tables that the stage reads, by name."""
    layout = Layout(output)
    tables = {
        "retrievals": layout.retrievals,
        "images": layout.images,
        "verdicts": layout.verdicts,
        "error_model": layout.error_model,
        "duplicates": layout.duplicates,
    }
    return tables | ({"features": layout.features} if "blue-instance" in config.noise.colors else {})


def stage_of(config: BuildConfig, output: str) -> Stage:
    """Return the stage with its present inputs and configuration. Raises DataError if a table is missing."""
    tables = {name: manifest_digest(path) for name, path in tables_of(config, output).items()}
    lists = {name: files.sha256(files.join(config.source, name)) for name in config.noise.fixed_sets}
    return Stage("split", {**tables, **lists}, config)


def is_up_to_date(config: BuildConfig, output: str) -> bool:
    """Return whether the dataset and the lists of its examples are those that the stage would write now.

    Raises DataError if a table that the stage reads is missing.
    """
    layout = Layout(output)
    return stage_of(config, output).is_done(*layout.outputs("split")) and is_whole(layout.dataset)


def _check_current(tables: dict[str, str], stage: Stage) -> None:
    """Raise DataError for a table that was made from an earlier one of ingest: it describes other images, or other rows."""
    directory.check_current(tables["verdicts"], stage.inputs["retrievals"], "aggregate", "retrievals")
    directory.check_current(tables["duplicates"], stage.inputs["images"], "dedupe")
    if "features" in tables:
        directory.check_current(tables["features"], stage.inputs["images"], "embed")


def run(config: BuildConfig, output: str, beam_arguments: list[str], force: bool = False) -> StageResult:
    """Run the stage unless it is up to date.

    Sets whose content would not change are not written again. Raises DataError if a class has too few clean images, or
    too few wrong ones and `on_shortage` is error, or if the verdicts are older than the list of images, or the
    near-duplicates or features older than the images.
    """
    layout = Layout(output)
    stage = stage_of(config, output)
    up_to_date = not force and is_up_to_date(config, output)
    notes: tuple[str, ...] = ()
    if not up_to_date:
        _check_current(tables_of(config, output), stage)
        plan, duplicates = make_plan(config, output), directory.read_manifest(layout.duplicates)
        about = {
            **stage.about,
            "name": config.name,
            "code_version": version("controlled-noise"),
            "funnel": plan.funnel,
            "leaks": {**leak_proof(duplicates.about), **counts(duplicates)},
            "licenses": plan.licenses,
        }
        notes = _write(config, plan, layout, about, beam_arguments, force)
    return StageResult({"dataset": directory.read_manifest(layout.dataset)}, up_to_date, notes)


@dataclass(frozen=True)
class Plan:
    """The sets of the dataset, and the staged lists of their examples, in `buckets` buckets.

    funnel: rows left by each step, in order. licenses: number of web images of all sets by license.
    """

    sets: list[SetPlan]
    lists: tuple[StagedShard, ...]
    buckets: int
    funnel: dict[str, int]
    licenses: dict[str, int]


def make_plan(config: BuildConfig, output: str) -> Plan:
    """Draw the sets, and stage the lists of their examples.

    Memory holds some hundred bytes per image, and the rows of one part of the tables.
    """
    layout = Layout(output)
    inputs = SplitInputs(
        tables_of(config, output), config.classes, config.noise.min_confidence, config.aggregate.min_votes
    )
    parts = range(inputs.parts)
    pools = collect_pools(inputs.part(index, DRAW_COLUMNS, check_digests=True) for index in parts)
    if not pools.test_sizes.sum():
        raise DataError("no test image is left; check the 'test' lists and the rejections of ingest")
    drawn = list(_drawn_sets(config, pools, layout, inputs.parts))
    fixed = _fixed_sets(config, inputs)
    buckets = _buckets(config, len(pools.clean), layout.images)
    facts = _facts(config, pools, drawn, fixed, buckets)
    digests = ContentDigests(facts, _written_as(config, layout.images))
    error_model = directory.read_table(layout.error_model, ERROR_MODEL, check_digests=True)
    levels = TrueLevels(error_model, config.classes)
    licenses: Counter[str] = Counter()

    def planned() -> Iterator[tuple[int, pa.Table]]:
        for index in parts:
            examples = _examples(inputs, pools, drawn, fixed, index)
            if SHARED_IMAGES in facts:
                examples.append(used_images(examples))
            originals = inputs.read("images", index, ["image_id", "sha256"])
            for pool in examples:
                digests.add(pool, originals)
                levels.add(pool)
            licenses.update(count_licenses(examples))
            yield from planned_examples(examples, index, inputs.parts, buckets)

    commit.prepare(layout.examples)
    shards = [
        write_shard(
            layout.examples,
            directory.shard_stem("part", index, buckets),
            PLANNED_SCHEMA,
            (table for _, table in group),
        )
        for index, group in groupby(planned(), key=lambda item: item[0])
    ]
    by_frequency = sorted(licenses.items(), key=lambda item: (-item[1], item[0]))
    staged = tuple(shard for shard in shards if shard)
    measured = {name: {"estimated_noise": found} for name in facts if (found := levels.estimate(name))}
    return Plan(digests.plans(measured), staged, buckets, pools.funnel, dict(by_frequency))


def _drawn_sets(config: BuildConfig, pools: Pools, layout: Layout, parts: int) -> Iterator[TrainingSet]:
    """Draw the training sets, with features where a color needs them."""

    def flips(seed: int) -> np.ndarray:
        features = FeatureParts(layout.features, parts)
        return instance_flips(config.noise.instance, pools, config.classes, seed, features)

    return training_sets(pools, config.classes, config.noise, config.seed, flips)


def _examples(
    inputs: SplitInputs,
    pools: Pools,
    drawn: Sequence[TrainingSet],
    fixed: Sequence[FixedSet],
    index: int,
) -> list[ExamplePool]:
    """Return the examples of one part: of the test set, of the drawn sets of each trial, and of each fixed set."""
    part = inputs.part(index, EXAMPLE_COLUMNS)
    examples = [test_examples(TEST_SET, part, shard_key(part.test["image_id"]))]
    for _, trial in groupby(drawn, key=lambda each: each.trial):
        examples.append(training_examples(list(trial), pools, part, index))
    for each in fixed:
        low, high = np.searchsorted(bucket(each.shard_keys, inputs.parts), [index, index + 1]).tolist()
        table, keys = each.examples.slice(low, high - low), each.shard_keys[low:high]
        examples.append(ExamplePool(table, keys, {each.name: np.arange(high - low)}))
    return examples


def _fixed_sets(config: BuildConfig, inputs: SplitInputs) -> list[FixedSet]:
    """Read the lists of `noise.fixed_sets`, and make their sets."""
    lists = []
    for name in config.noise.fixed_sets:
        for records in read_records(files.join(config.source, name), FIXED_SET, name):
            if records.malformed:
                raise DataError(
                    f"{': '.join(records.malformed[0])}; correct the line: a fixed set needs all its rows"
                )
            lists.append(records.rows)
    if not lists:
        return []
    rows = pa.concat_tables(lists)
    retrievals: list[pa.Table] = []
    verdicts: list[pa.Table] = []
    ids = pa.table({"image_id": rows["image_id"].drop_null().unique()})
    if not ids.num_rows:
        raise DataError(f"{rows['location'][0]}: image_id is missing, as in all other rows; fill it in")
    for index, wanted in by_bucket(ids, inputs.parts):
        for name, columns, found in (
            ("retrievals", EXAMPLE_COLUMNS, retrievals),
            ("verdicts", VERDICT_COLUMNS, verdicts),
        ):
            table = inputs.read(name, index, columns)
            found.append(table.filter(pc.is_in(table["image_id"], wanted["image_id"].combine_chunks())))
    return list(fixed_sets(rows, pa.concat_tables(retrievals), pa.concat_tables(verdicts), config.classes))


def _write(
    config: BuildConfig,
    plan: Plan,
    layout: Layout,
    about: dict[str, Any],
    beam_arguments: list[str],
    force: bool,
) -> tuple[str, ...]:
    """Write the sets whose content differs from the present dataset; return lines for the user."""
    dataset = layout.dataset
    stale = [each for each in plan.sets if force or not each.is_written(dataset)]
    names = {each.name for each in plan.sets}
    dropped = [name for name in set_names(dataset) if name not in names]
    # An interrupted commit may have left half-written files, and old shards of a set that is written already.
    files.remove_temporaries(dataset)
    for each in plan.sets:
        commit.prepare(files.join(dataset, each.name))
    written = sorted(each.name for each in stale)
    report = None if force else interrupted_report(layout.changes, dataset, about["made_from"], written)
    report = report or {
        "made_from": about["made_from"],
        "written": written,
        "removed": dropped,
        "changed": changes(layout.examples, STAGE_VERSIONS["split"], plan.lists, plan.buckets),
    }
    job = DatasetJob(
        layout.examples,
        plan.lists,
        {"buckets": plan.buckets, "version": STAGE_VERSIONS["split"], "made_from": about["made_from"]},
        layout.images,
        dataset,
        list(config.classes),
        frozenset(each.name for each in stale),
        config.shards.mode == "shared",
        {each.name: dict(each.facts) for each in plan.sets},
        about,
        (layout.changes, json.dumps(report, indent=1) + "\n"),
    )
    rows = sum(each.rows for each in stale)
    work = JobSpec("split", layout.output, "examples", rows, rows * SECONDS_PER_EXAMPLE)
    run_job(lambda pipeline: pipeline | "Split" >> WriteSets(job), beam_arguments, work)
    notes = []
    if dropped:
        notes.append(f"removed sets that are no longer in the configuration: {', '.join(dropped)}")
    if capped := below_level(plan.sets):
        notes.append(
            f"less noise than the level for lack of wrong images (noise.on_shortage: cap): {', '.join(capped)}"
        )
    made = {
        each.facts.get("noise_level") for each in plan.sets
    }  # the table of images of a shared dataset has none
    absent = [level for level in PAPER_LEVELS if level not in made] if config.noise.levels is None else []
    if absent:
        shown = ", ".join(map(str, absent))
        notes.append(
            f"too few wrong images for the noise levels {shown}; set noise.levels to see in which classes"
        )
    return tuple(notes)


def _buckets(config: BuildConfig, clean_images: int, images: str) -> int:
    """Return the number of buckets that respects max_rows and max_megabytes, at most that of the table of images."""
    manifest = directory.read_manifest(images)
    by_rows = bucket_count(clean_images, config.shards.max_rows)
    by_size = bucket_count(sum(shard.bytes for shard in manifest.shards), config.shards.max_megabytes << 20)
    return int(min(max(by_rows, by_size), manifest.about["buckets"]))


def _written_as(config: BuildConfig, images: str) -> dict[str, Any]:
    """Return what decides the bytes of a set besides its examples."""
    return {
        "mode": config.shards.mode,
        "versions": {stage: STAGE_VERSIONS[stage] for stage in ("ingest", "split")} | library_versions(),
        "image_settings": directory.read_manifest(images).about["config"]["ingest"],
    }


def _facts(
    config: BuildConfig,
    pools: Pools,
    drawn: Sequence[TrainingSet],
    fixed: Sequence[FixedSet],
    buckets: int,
) -> dict[str, dict[str, Any]]:
    """Return the contents of the manifests of all sets by name; of a shared dataset also those of its table of images."""
    is_shared = config.shards.mode == "shared"
    fewer = min(buckets, bucket_count(len(pools.clean), LIST_ROW_GROUP_ROWS))
    common = {
        "buckets": fewer if is_shared else buckets,
        "class_names": list(config.classes),
        "seed": config.seed,
    }
    names = config.classes
    right = np.zeros_like(pools.test_sizes)
    facts: dict[str, dict[str, Any]] = {
        TEST_SET: {
            **common,
            "set_name": TEST_SET,
            "color": None,
            "noise_level": 0.0,
            "classes": class_noise(pools.test_sizes, right, names),
        }
    }
    sets: list[TrainingSet | FixedSet] = [*drawn, *fixed]
    for each in sets:
        if each.name in facts:
            raise DataError(
                f"two sets are called {each.name!r}; rename the one in the files of noise.fixed_sets"
            )
        if not len(each):
            raise DataError(
                f"set {each.name!r} would have no examples; remove its level, color or file from the noise section"
            )
        facts[each.name] = common | _facts_of_set(config, pools, each)
    if is_shared:
        facts[SHARED_IMAGES] = {"buckets": buckets}
    return facts


def _facts_of_set(config: BuildConfig, pools: Pools, each: TrainingSet | FixedSet) -> dict[str, Any]:
    """Return what the manifest of a training set states besides the facts that all sets have in common."""
    about: dict[str, Any] = {
        "set_name": each.name,
        "color": each.color,
        "noise_level": each.noise_level,
        "trial": each.trial if isinstance(each, TrainingSet) else 0,
        "nested": config.noise.nested,
        "on_shortage": config.noise.on_shortage,
        "blue_size": config.noise.blue_size,
    }
    if isinstance(each, TrainingSet):
        if each.wrong is not None:
            about["candidate_order"] = config.noise.candidate_order
        elif each.color == "blue-instance":
            about["instance"] = config.noise.instance
        about["classes"], lacking = noise_of_set(each, pools.clean.labels, config.classes)
    else:
        examples = each.examples.select(COUNTED)
        about["classes"] = noise_by_class(examples, config.classes)
        lacking = classes_without_clean(examples, config.classes)
        about |= {"nested": False, "fixed_set": each.measured}
    if lacking:
        about["classes_without_clean"] = lacking
    return about
