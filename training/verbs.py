"""The verbs train, evaluate and study."""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from common.config import build, merge, parse_overrides, parse_yaml
from common.errors import UsageError
from training.data.remote import local_copy, local_folder
from training.data.shards import dataset_name, load, read_manifest
from training.device import choose_device
from training.distributed import join_processes
from training.evaluation import accuracy, memorization, predict
from training.features.extract import FEATURES, with_features
from training.features.vectors import make_augmenter
from training.loggers import Loggers
from training.precision import choose_precision
from training.printing import print_result
from training.progress import duration
from training.recipes.default import resolve_recipe
from training.run_directory import read_config, read_result
from training.run_length import warn_of_short_runs
from training.state_files import write_json
from training.stop_signal import StopSignal
from training.study import grid, plan, results, run_state, runner, summary_tables
from training.study.conclusions import run_sentence, study_sentences
from training.study.power import wilson
from training.study.shard import parse_shard
from training.study.study_facts import STUDY_FILE
from training.train import prepare_run, run_training
from training.trained_networks import load_trained_networks

BUDGET_USED_UP = 75  # EX_TEMPFAIL of sysexits.h: run the same command again


def train(arguments: argparse.Namespace) -> int:
    """Train one run; the first Ctrl-C saves a checkpoint and stops, the second stops at once.

    Under torchrun each process calls this function, and the processes share each batch.
    """
    overrides = parse_overrides(arguments.set)
    if arguments.method:
        overrides["method"] = arguments.method
    try:
        with join_processes() as (processes, device), StopSignal() as stop:
            leader = processes.rank == 0
            if leader:
                local_copy(arguments.data, [arguments.set_name, arguments.test], arguments.cache)
            processes.barrier()
            data = local_folder(arguments.data, arguments.cache)
            resident_bytes = int(arguments.resident_gb * 2**30)
            config, sets, why = prepare_run(
                data, arguments.set_name, arguments.test, arguments.recipe, overrides, device, resident_bytes
            )
            if leader:
                _print_choice(why)
                warn_of_short_runs([(config, len(sets[0]))])
            names = [*arguments.logger, *(["tensorboard"] if arguments.tensorboard else [])]
            result = run_training(
                config,
                *sets,
                arguments.output,
                device=device,
                processes=processes,
                features=arguments.features or arguments.output.parent / FEATURES,
                resume=arguments.resume,
                progress=not arguments.json,
                stop=stop,
                loggers=Loggers(names if leader else ()),
            )
    except KeyboardInterrupt:
        print(
            f"stopped; to continue, run the same command with --resume ({arguments.output})", file=sys.stderr
        )
        return 130
    if leader:
        _print_accuracies(result, result.get("test_images"), "final_accuracy", arguments.json)
    return 0


def _print_accuracies(result: dict[str, Any], images: int | None, main: str, as_json: bool) -> None:
    """Print a result with the intervals of its test accuracies, and a sentence on what they can show."""
    names = ("accuracy", "final_accuracy", "final_accuracy_raw", "best_accuracy", "selected_accuracy")
    measured = {name: result[name] for name in names if result.get(name) is not None} if images else {}
    print_result(result, as_json, {name: wilson(value, images or 0) for name, value in measured.items()})
    if images and not as_json:
        print(run_sentence(result[main], images))


def evaluate(arguments: argparse.Namespace) -> int:
    """Evaluate the averaged weights of a run (its last weights if it does not average) on one set."""
    folder = local_copy(arguments.data, [arguments.set_name], arguments.cache)
    config, data, device = read_config(arguments.run), load(folder / arguments.set_name), choose_device()
    precision = choose_precision(config, data, arguments.run, device)
    config = replace(config, precision=precision)
    if config.network.frozen:
        cache = arguments.features or arguments.run.parent / FEATURES
        [data] = with_features(config, (data,), cache, device, progress=not arguments.json)
    trained = load_trained_networks(arguments.run, len(data.class_names), device)
    data = data.to(device)
    predicted = predict(trained.networks, data, make_augmenter(config, data, device), precision == "bf16")
    result: dict[str, Any] = {"set_name": arguments.set_name, "step": trained.step, "images": len(data)}
    result["accuracy"] = accuracy(predicted, data.labels)
    if not bool(data.is_clean.all()):
        result |= memorization(predicted, data)
    _print_accuracies(result, len(data), "accuracy", arguments.json)
    return 0


def study(arguments: argparse.Namespace) -> int:
    """Train the runs of a grid, or of one shard of it, that have not finished; write the two result tables.

    Returns 0 if all runs have finished, 1 if one failed, 75 if the budget is used up and runs are left.
    """
    started = time.monotonic()
    config, output = _study_config(arguments), arguments.output
    shard = parse_shard(arguments.shard) if arguments.shard else None
    data = local_copy(arguments.data, grid.set_names(config), arguments.cache)
    manifest, _ = read_manifest(data / grid.set_names(config)[1])  # a training set; the first is the test set
    gpu = choose_device().type == "cuda"
    recipe, fitted, why = resolve_recipe(config.recipe, manifest.about, manifest.rows, gpu=gpu)
    _print_choice(why)
    config = replace(config, recipe=recipe, overrides=merge(fitted, config.overrides))
    cells = grid.make_cells(config, data)
    selected = grid.unique_runs(cells)
    if shard:
        selected = grid.select_shard(selected, shard)
        names = {run.name for run in selected}
        cells = [cell for cell in cells if cell.run.name in names]
    if arguments.order == "priority":
        selected = grid.order_by_priority(selected, config)
    run_state.reject_old_layout(output)
    unfinished = [run for run in selected if not run_state.is_finished(output, run.name)]
    warn_of_short_runs((run.config, run.images) for run in unfinished)
    costs: plan.Costs = {}
    remaining = plan.make_plan(selected, output, data, config.test, measure=True, costs=costs)
    if arguments.plan:
        print(json.dumps(asdict(remaining)) if arguments.json else remaining.details())
        return 0
    print(remaining.details(), file=sys.stderr)
    output.mkdir(parents=True, exist_ok=True)
    write_json(output / STUDY_FILE, {"dataset": dataset_name(data), **asdict(config)})

    def budget_used_up() -> bool:
        return arguments.budget is not None and time.monotonic() - started > arguments.budget

    code = 0
    try:
        folders = runner.StudyFolders(data, config.test, output)
        for run in runner.run_all(selected, folders, arguments.jobs, budget_used_up):
            results.write(results.collect(cells, output), output, shard)
            remaining = plan.make_plan(selected, output, data, config.test, measure=False, costs=costs)
            tqdm.write(f"{_outcome(output, run.name)} ({remaining})", file=sys.stderr)
    except KeyboardInterrupt:
        print("stopped; run the same command again to resume", file=sys.stderr)
        return 130
    except runner.BudgetUsedUpError:
        left = plan.make_plan(selected, output, data, config.test, measure=False).unfinished
        print(
            f"the budget of {arguments.budget:g} s is used up: {left} of {len(selected)} runs left; run the same "
            "command again to resume",
            file=sys.stderr,
        )
        code = BUDGET_USED_UP
    finally:
        tables = results.collect(cells, output)
        results.write(tables, output, shard)
    if arguments.json:
        print(json.dumps(tables[0].to_pylist()))
    else:
        summaries = [summary_tables.cells(tables[0]), summary_tables.unfinished(tables[0])]
        parts = [summary.text() for summary in summaries if summary.rows]
        print("\n".join([*parts, *study_sentences(tables[0])]))
    all_finished = all(status == "finished" for status in tables[0]["status"].to_pylist())
    return code or (0 if all_finished else 1)


def _print_choice(why: str) -> None:
    """Print which recipe was chosen, and why; nothing if it was named."""
    if why:
        print(f"{why}; choose another with --recipe", file=sys.stderr)


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
    if arguments.set:
        raw["overrides"] = merge(raw.get("overrides") or {}, parse_overrides(arguments.set))
    return build(grid.StudyConfig, raw, str(arguments.config or "study"))


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


VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    "train": train, "evaluate": evaluate, "study": study,
}  # fmt: skip
