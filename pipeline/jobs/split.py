"""The split job: pools and noise levels → training and test sets as shards.

Which example goes where is decided here, on columns, without pictures; pipeline/jobs/sets.py then writes the sets.
"""

import json
from collections.abc import Sequence
from importlib.metadata import version
from itertools import chain
from typing import Any

import pyarrow as pa

from common.errors import DataError
from pipeline import files
from pipeline.config import PAPER_LEVELS, BuildConfig
from pipeline.jobs.sets import Task, WriteSets, is_whole, remove_dropped_sets, set_names
from pipeline.keyed_hash import bucket_count
from pipeline.layout import Layout
from pipeline.noise.examples import COUNTED, classes_without_clean, licenses, noise_by_class
from pipeline.noise.fixed_sets import listed_sets
from pipeline.noise.pools import Pools, make_pools
from pipeline.noise.training_sets import TrainingSet, test_set, training_sets
from pipeline.records import read_records
from pipeline.running.run import Work, run_job
from pipeline.running.stage import (
    STAGE_VERSIONS,
    Stage,
    StageResult,
    counts,
    library_versions,
    manifest_digest,
)
from pipeline.shards import commit, directory
from pipeline.shards.parquet import LIST_ROW_GROUP_ROWS, StagedShard, write_shard
from pipeline.shards.plan import (
    PLANNED_SCHEMA,
    Planner,
    SetPlan,
    all_pictures,
    changes,
    planned_examples,
)
from schemas.duplicate import DUPLICATE
from schemas.example import PICTURES, TEST_SPLIT
from schemas.fixed_set import FIXED_SET
from schemas.image import IMAGES
from schemas.retrieval import RETRIEVAL
from schemas.verdict import VERDICT

SECONDS_PER_EXAMPLE = 2e-6  # of a core, beside the threads of a worker


def tables_of(output: str) -> dict[str, str]:
    """Return the folders of the tables that the stage reads, by name."""
    layout = Layout(output)
    return {
        "retrievals": layout.retrievals,
        "images": layout.images,
        "verdicts": layout.verdicts,
        "duplicates": layout.duplicates,
    }


def stage_of(config: BuildConfig, output: str) -> Stage:
    """Return the stage as its inputs and its configuration make it now. Raises DataError without the tables."""
    tables = {name: manifest_digest(path) for name, path in tables_of(output).items()}
    listed = {name: files.sha256(files.join(config.source, name)) for name in config.noise.listed}
    return Stage("split", {**tables, **listed}, config)


def run(config: BuildConfig, output: str, beam_arguments: list[str], force: bool = False) -> StageResult:
    """Run the stage unless it is up to date.

    Sets that would come out as they are already there are left alone. Raises DataError where a class has too few
    clean or wrong images and the configuration says to stop.
    """
    layout, tables = Layout(output), tables_of(output)
    stage = stage_of(config, output)
    up_to_date = not force and stage.is_done(layout.dataset) and is_whole(layout.dataset)
    if not up_to_date:
        pools = make_pools(
            directory.read_table(tables["retrievals"], RETRIEVAL, check_digests=True),
            directory.read_table(tables["verdicts"], VERDICT, check_digests=True),
            directory.read_table(tables["duplicates"], DUPLICATE, check_digests=True),
            config.classes,
            config.noise.min_confidence,
            config.aggregate.min_votes,
        )
        if not len(pools.test):
            raise DataError("no test image is left; check the 'test' lists and the rejections of ingest")
        about = {
            **stage.about,
            "name": config.name,
            "code_version": version("controlled-noise"),
            "funnel": pools.funnel,
            "leaks": _leak_proof(layout.duplicates),
        }
        as_listed = _as_listed(config, tables)
        notes = _write(config, pools, as_listed, layout, about, beam_arguments, force)
    else:
        remove_dropped_sets(layout.dataset)  # an interrupted build may have left them
        notes = ()
    return StageResult({"dataset": directory.read_manifest(layout.dataset)}, up_to_date, notes)


def _as_listed(config: BuildConfig, tables: dict[str, str]) -> list[TrainingSet]:
    """The sets that are made as a list says."""
    rows = []
    for name in config.noise.listed:
        for records in read_records(files.join(config.source, name), FIXED_SET, name):
            if records.malformed:
                raise DataError(
                    f"{': '.join(records.malformed[0])}; mend the line, a listed set is exact or nothing"
                )
            rows.append(records.rows)
    if not rows:
        return []
    retrievals = directory.read_table(tables["retrievals"], RETRIEVAL)
    verdicts = directory.read_table(tables["verdicts"], VERDICT)
    return list(listed_sets(pa.concat_tables(rows), retrievals, verdicts, config.classes))


def _leak_proof(duplicates: str) -> dict[str, Any]:
    manifest = directory.read_manifest(duplicates)
    return {**manifest.about["config"]["dedupe"], **counts(manifest)}


def _write(
    config: BuildConfig,
    pools: Pools,
    as_listed: Sequence[TrainingSet],
    layout: Layout,
    about: dict[str, Any],
    beam_arguments: list[str],
    force: bool,
) -> tuple[str, ...]:
    """Plan the sets and write those that differ from the present ones; return lines for the user."""
    images, dataset, lists = layout.images, layout.dataset, layout.examples
    buckets = _buckets(config, pools, images)
    plans = _plans(config, pools, as_listed, images, buckets)
    before = _lists_before(lists)
    difference = {} if before is None else changes(before, plans)
    stale = [plan for plan in plans if force or not plan.is_written(dataset)]
    names = {plan.name for plan in plans}
    dropped = [name for name in set_names(dataset) if name not in names]
    for plan in stale:
        commit.prepare(files.join(dataset, plan.name))
    report = {"written": sorted(plan.name for plan in stale), "removed": dropped, "changed": difference}
    task = Task(
        lists,
        _write_lists(lists, plans, buckets),
        {"buckets": buckets, "version": STAGE_VERSIONS["split"]},
        images,
        dataset,
        list(config.classes),
        frozenset(plan.name for plan in stale),
        config.shards.mode == "shared",
        {plan.name: dict(plan.facts) for plan in plans},
        {**about, "licenses": licenses(plan.listed for plan in plans)},
        (layout.changes, json.dumps(report, indent=1) + "\n"),
    )
    rows = sum(len(plan.listed) for plan in stale)
    work = Work("split", layout.output, "examples", rows, rows * SECONDS_PER_EXAMPLE)
    run_job(lambda pipeline: pipeline | "Split" >> WriteSets(task), beam_arguments, work)
    notes = []
    if dropped:
        notes.append(f"sets that the configuration no longer has were removed: {', '.join(dropped)}")
    made = {plan.facts.get("noise_level") for plan in plans}  # a table of pictures has none
    absent = [level for level in PAPER_LEVELS if level not in made] if config.noise.levels is None else []
    if absent:
        shown = ", ".join(map(str, absent))
        notes.append(
            f"too few wrong images for the noise levels {shown}; set noise.levels to see in which classes"
        )
    return tuple(notes)


def _buckets(config: BuildConfig, pools: Pools, images: str) -> int:
    """So many that neither rows nor pictures of one are too many; never more than the images have."""
    manifest = directory.read_manifest(images)
    by_rows = bucket_count(len(pools.clean), config.shards.rows)
    by_size = bucket_count(sum(shard.bytes for shard in manifest.shards), config.shards.megabytes << 20)
    return int(min(max(by_rows, by_size), manifest.about["buckets"]))


def _plans(
    config: BuildConfig, pools: Pools, as_listed: Sequence[TrainingSet], images: str, buckets: int
) -> list[SetPlan]:
    """All sets; of a shared dataset also the table of its pictures."""
    originals = directory.read_table(images, IMAGES, ["image_id", "sha256"])
    layout = {
        "mode": config.shards.mode,
        "versions": {stage: STAGE_VERSIONS[stage] for stage in ("ingest", "split")} | library_versions(),
        "pictures": directory.read_manifest(images).about["config"]["ingest"],
    }
    is_shared = config.shards.mode == "shared"
    long = min(buckets, bucket_count(len(pools.clean), LIST_ROW_GROUP_ROWS))
    common = {
        "buckets": long if is_shared else buckets,
        "class_names": list(config.classes),
        "seed": config.seed,
    }
    planner = Planner(originals, layout)
    test = test_set(pools.test)
    facts = {
        **common,
        "split": TEST_SPLIT,
        "color": None,
        "noise_level": 0.0,
        "classes": noise_by_class(test.columns(COUNTED), config.classes),
    }
    plans = [planner.plan(TEST_SPLIT, test, facts)]
    made = training_sets(pools.clean, pools.wrong, config.classes, config.noise, config.seed, pools.supply)
    for split in chain(made, as_listed):
        if any(plan.name == split.name for plan in plans):
            raise DataError(f"two sets are called {split.name}; rename the listed one")
        if not len(split.listed):
            raise DataError(
                f"{split.name} would have no examples; drop this level or color from the configuration"
            )
        facts = {
            **common,
            "split": split.name,
            "color": split.color,
            "noise_level": split.noise_level,
            "trial": split.trial,
            "nested": config.noise.nested,
            "on_shortage": config.noise.on_shortage,
            "blue_size": config.noise.blue_size,
            "classes": noise_by_class(split.listed.columns(COUNTED), config.classes),
        }
        if lacking := classes_without_clean(split.listed.columns(COUNTED), config.classes):
            facts["classes_without_clean"] = lacking
        if split.measured:
            facts |= {"nested": False, "listed": dict(split.measured)}
        plans.append(planner.plan(split.name, split.listed, facts))
    if is_shared:
        plans.append(planner.plan(PICTURES, all_pictures(plans), {"buckets": buckets}))
    return plans


def _lists_before(lists: str) -> pa.Table | None:
    """The lists of the build before, if they are whole, and as this version writes them."""
    try:
        version = directory.read_manifest(lists).about.get("version")
        return pa.concat_tables(directory.read_shards(lists)) if version == STAGE_VERSIONS["split"] else None
    except DataError:
        return None


def _write_lists(lists: str, plans: list[SetPlan], buckets: int) -> tuple[StagedShard, ...]:
    """Stage the different examples of all sets, by bucket, for the tasks and for the comparison by the next build."""
    commit.prepare(lists)
    shards = [
        write_shard(lists, directory.shard_stem("part", index, buckets), PLANNED_SCHEMA, tables)
        for index, tables in planned_examples(plans, buckets)
    ]
    return tuple(shard for shard in shards if shard)
