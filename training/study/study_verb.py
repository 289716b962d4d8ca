"""The verb study."""

import argparse
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from tqdm import tqdm

from common.config import build, merge, parse_overrides, parse_yaml
from common.errors import UsageError
from training.data.remote import local_copy
from training.data.shards import dataset_name, read_manifest
from training.device import choose_device
from training.flags import bytes_of
from training.models.registry import check_network_name
from training.printing import print_choice
from training.progress import duration
from training.recipes.default import resolve_recipe
from training.run_directory import read_result
from training.run_length import warn_of_short_runs
from training.state_files import write_json
from training.study import grid, plan, results, run_state, runner, summary_tables
from training.study.conclusions import study_sentences
from training.study.power import wilson
from training.study.shard import ShardOfRuns, parse_shard
from training.study.study_facts import STUDY_FILE
from training.threads import cpu_threads, threads_per_job

TABLES_TIME_SHARE = 0.02  # maximum share of time spent on tables while runs are left
BUDGET_USED_UP = 75  # EX_TEMPFAIL of sysexits.h: run the same command again


def verb(arguments: argparse.Namespace) -> int:
    """Train the runs of a grid, or of one shard of it, that have not finished; write the two result tables.

    Returns 0 if all runs have finished, 1 if one failed, 75 if the budget is used up and runs are left.
    """
    started = time.monotonic()
    config, output = _study_config(arguments), arguments.output
    shard = parse_shard(arguments.shard) if arguments.shard else None
    data = local_copy(arguments.data, grid.set_names(config), arguments.cache)
    config = _with_chosen_recipe(config, data)
    cells, runs = _cells_and_runs(config, data, shard, arguments.order)
    run_state.reject_old_layout(output)
    unfinished = [run for run in runs if not run_state.is_finished(output, run.name)]
    for name in dict.fromkeys(run.config.network.name for run in unfinished):
        check_network_name(name)
    warn_of_short_runs((run.config, run.images) for run in unfinished)
    costs: plan.Costs = {}
    resident_bytes = bytes_of(arguments.resident_gb)

    def remaining(*, measure: bool = False) -> plan.Plan:
        return plan.make_plan(
            runs, output, data, config.test, measure=measure, costs=costs, resident_bytes=resident_bytes
        )

    def budget_used_up() -> bool:
        return arguments.budget is not None and time.monotonic() - started > arguments.budget

    with cpu_threads(threads_per_job(arguments.jobs)):
        at_start = remaining(measure=True)
    if arguments.plan:
        print(json.dumps(asdict(at_start)) if arguments.json else at_start.details())
        return 0
    print(at_start.details(), file=sys.stderr)
    output.mkdir(parents=True, exist_ok=True)
    write_json(output / STUDY_FILE, {"dataset": dataset_name(data), **asdict(config)})
    code = 0
    try:
        folders = runner.StudyFolders(data, config.test, output, resident_bytes)
        write_tables = _TableWriter(cells, output, shard)
        for run in runner.run_all(runs, folders, arguments.jobs, budget_used_up):
            write_tables()
            tqdm.write(f"{_outcome(output, run.name)} ({remaining()})", file=sys.stderr)
    except KeyboardInterrupt:
        print("stopped; run the same command again to resume", file=sys.stderr)
        return 130
    except runner.BudgetUsedUpError:
        print(
            f"the budget of {arguments.budget:g} s is used up: {remaining().unfinished} of {len(runs)} runs left; run the "
            "same command again to resume",
            file=sys.stderr,
        )
        code = BUDGET_USED_UP
    finally:
        tables = results.collect(cells, output)
        results.write(tables, output, shard)
    _print_results(tables[0], arguments.json)
    all_finished = all(status == "finished" for status in tables[0]["status"].to_pylist())
    return code or (0 if all_finished else 1)


def _cells_and_runs(
    config: grid.StudyConfig, data: Path, shard: ShardOfRuns | None, order: str
) -> tuple[list[grid.Cell], list[grid.Run]]:
    """Return the cells of the grid, and the runs that they need in the order of training; with a shard, its own."""
    cells = grid.make_cells(config, data)
    runs = grid.unique_runs(cells)
    if shard:
        runs = grid.select_shard(runs, shard)
        names = {run.name for run in runs}
        cells = [cell for cell in cells if cell.run.name in names]
    if order == "priority":
        runs = grid.order_by_priority(runs, config)
    return cells, runs


class _TableWriter:
    """Writes the tables of the runs so far, unless that would take too large a share of the time: it reads all finished runs."""

    def __init__(self, cells: list[grid.Cell], output: Path, shard: ShardOfRuns | None) -> None:
        self._cells, self._output, self._shard = cells, output, shard
        self._next = 0.0  # time before which nothing is written

    def __call__(self) -> None:
        began = time.monotonic()
        if began < self._next:
            return
        results.write(results.collect(self._cells, self._output), self._output, self._shard)
        ended = time.monotonic()
        self._next = ended + (ended - began) / TABLES_TIME_SHARE


def _study_config(arguments: argparse.Namespace) -> grid.StudyConfig:
    """Return the study of the file --config, if given, with the values of the flags."""
    raw: dict[str, Any] = {}
    if arguments.config:
        if not arguments.config.is_file():
            raise UsageError(f"--config: {arguments.config} does not exist; give the path of a YAML file")
        try:
            text = arguments.config.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise UsageError(
                f"{arguments.config}: not UTF-8 text ({error}); save the file as UTF-8"
            ) from error
        raw = parse_yaml(text, str(arguments.config))
    flags = {
        name: getattr(arguments, name)
        for name in ("levels", "colors", "methods", "networks", "seeds", "recipe")
    }
    raw |= {name: value for name, value in flags.items() if value is not None}
    given = raw.get("overrides") or {}
    if arguments.set and isinstance(given, Mapping):
        raw["overrides"] = merge(given, parse_overrides(arguments.set))
    return build(grid.StudyConfig, raw, str(arguments.config or "study"))


def _with_chosen_recipe(config: grid.StudyConfig, data: Path) -> grid.StudyConfig:
    """Return the study with the recipe that `auto` stands for and the keys that its sets change, and print which and why.

    Settings with a recipe of their own keep it, and get only the keys that the sets change of that recipe.
    """
    manifest, _ = read_manifest(data / grid.set_names(config)[1])  # a training set; the first is the test set
    gpu = choose_device().type == "cuda"
    printed: set[str] = set()

    def resolved(name: str, given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        recipe, changes, why = resolve_recipe(name, manifest.about, manifest.rows, given, gpu=gpu)
        if why not in printed:
            print_choice(why)
        printed.add(why)
        return recipe, changes

    if not config.settings:
        recipe, changes = resolved(config.recipe, config.overrides)
        return replace(config, recipe=recipe, overrides=merge(changes, config.overrides))
    chosen = {
        name: resolved(keys.get("recipe", config.recipe), merge(config.overrides, keys))
        for name, keys in config.settings.items()
    }
    settings = {name: merge(chosen[name][1], keys) for name, keys in config.settings.items()}
    others = [recipe for name, (recipe, _) in chosen.items() if "recipe" not in config.settings[name]]
    return replace(config, recipe=others[0] if others else config.recipe, settings=settings)


def _outcome(output: Path, name: str) -> str:
    """Return the progress line of a run that has finished or failed."""
    result = read_result(run_state.run_folder(output, name))
    if result is None:
        return f"{name} failed: {run_state.read_failure(output, name)}"
    final, images = result["final_accuracy"], result.get("test_images")
    interval = " [{:.1f}, {:.1f}]".format(*(100 * bound for bound in wilson(final, images))) if images else ""
    return (
        f"{name} finished after {duration(result['seconds'])}: test accuracy {final:.1%}{interval}, "
        f"best epoch {result['best_accuracy']:.1%}"
    )


def _print_results(table: pa.Table, as_json: bool) -> None:
    """Print the results as JSON, or the tables of cells and of unfinished runs, and the sentences on the study."""
    if as_json:
        print(json.dumps(table.to_pylist()))
        return
    summaries = [summary_tables.cells(table), summary_tables.unfinished(table)]
    print("\n".join([*(one.text() for one in summaries if one.rows), *study_sentences(table)]))
