"""What each verb does, given its parsed arguments."""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from common.config import build, merge, parse_overrides, parse_yaml
from common.errors import UsageError
from training.data.remote import local_copy, local_folder
from training.data.shards import load, load_pair, read_manifest
from training.device import choose_device, use_bf16
from training.distributed import join_processes
from training.evaluation import accuracy, memorization, predict
from training.features.extract import FEATURES, with_features
from training.features.vectors import make_augmenter
from training.loggers import Loggers
from training.recipes.choose import configure
from training.run_directory import read_config, read_result
from training.show import show
from training.state_files import write_json
from training.stop_signal import StopSignal
from training.study import claims, grid, plan, runs, table, tables
from training.train import run_training
from training.trained import load_trained


def train(arguments: argparse.Namespace) -> int:
    """Train one run; a first Ctrl-C saves a checkpoint and stops, a second one stops at once.

    Under torchrun each process calls this, and they share every batch.
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
            manifest, _ = read_manifest(data / arguments.set_name)
            config = configure(arguments.recipe, manifest.about["noise_level"], overrides)
            # a frozen network sees each picture once
            most = 0 if config.network.frozen else int(arguments.resident_gb * 2**30)
            sets = load_pair(data, arguments.set_name, arguments.test, most)
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
        print(f"stopped; go on with the same command and --resume ({arguments.output})", file=sys.stderr)
        return 130
    if leader:
        show(result, arguments.json)
    return 0


def evaluate(arguments: argparse.Namespace) -> int:
    """Measure a run's averaged weights (or the plain ones, without averaging) on one set."""
    folder = local_copy(arguments.data, [arguments.set_name], arguments.cache)
    config, data, device = read_config(arguments.run), load(folder / arguments.set_name), choose_device()
    if config.network.frozen:
        cache = arguments.features or arguments.run.parent / FEATURES
        [data] = with_features(config, (data,), cache, device, progress=not arguments.json)
    trained = load_trained(arguments.run, len(data.class_names), device)
    data = data.to(device)
    predicted = predict(
        trained.networks, data, make_augmenter(config, data, device), use_bf16(config.precision, device)
    )
    result: dict[str, Any] = {"set_name": arguments.set_name, "step": trained.step, "images": len(data)}
    result["accuracy"] = accuracy(predicted, data.labels)
    if not bool(data.is_clean.all()):
        result |= memorization(predicted, data)
    show(result, arguments.json)
    return 0


def study(arguments: argparse.Namespace) -> int:
    """Train what is missing of a grid, and gather all results in two tables; 1 if a run failed."""
    config, output = _study_config(arguments), arguments.output
    data = local_copy(arguments.data, grid.splits(config), arguments.cache)
    cells = grid.plan(config, data)
    all_runs = [cell.run for cell in cells]
    ahead = plan.make_plan(all_runs, output, data, config.test, measure=arguments.plan)
    if arguments.plan:
        print(json.dumps(asdict(ahead)) if arguments.json else ahead)
        return 0
    print(ahead, file=sys.stderr)
    output.mkdir(parents=True, exist_ok=True)
    write_json(output / "study.json", asdict(config))
    try:
        for run in runs.run_all(all_runs, data, config.test, output, arguments.jobs):
            table.write(table.collect(cells, output), output)
            ahead = plan.make_plan(all_runs, output, data, config.test, measure=False)
            tqdm.write(f"{_outcome(output, run.name)} · {ahead}", file=sys.stderr)
    except KeyboardInterrupt:
        print("stopped; the same command goes on where it was", file=sys.stderr)
        return 130
    finally:
        results, curves = table.collect(cells, output)
        table.write((results, curves), output)
    if arguments.json:
        print(json.dumps(results.to_pylist()))
    else:
        print(
            "\n".join(
                one.markdown() for one in (tables.cells(results), tables.unfinished(results)) if one.rows
            )
        )
    return 0 if all(status == "finished" for status in results["status"].to_pylist()) else 1


def _study_config(arguments: argparse.Namespace) -> grid.StudyConfig:
    """Read the file, if one is given, and lay the command line on it."""
    raw: dict[str, Any] = {}
    if arguments.config:
        if not arguments.config.is_file():
            raise UsageError(f"--config: no file {arguments.config}")
        try:
            text = arguments.config.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise UsageError(
                f"{arguments.config}: not UTF-8 text ({error}); save the file as UTF-8"
            ) from error
        raw = parse_yaml(text, str(arguments.config))
    given = {
        name: getattr(arguments, name)
        for name in ("levels", "colors", "methods", "networks", "seeds", "recipe")
    }
    raw |= {name: value for name, value in given.items() if value is not None}
    raw["set"] = merge(raw.get("set") or {}, parse_overrides(arguments.set))
    return build(grid.StudyConfig, raw, str(arguments.config or "study"))


def _outcome(output: Path, name: str) -> str:
    result = read_result(claims.finished_folder(output, name))
    if result is None:
        return f"{name}: FAILED, {claims.read_failure(output, name)}"
    return (
        f"{name}: final {100 * result['final_accuracy']:.1f} %, best {100 * result['best_accuracy']:.1f} %, "
        f"{plan.duration(result['seconds'])}"
    )


VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    "train": train, "evaluate": evaluate, "study": study,
}  # fmt: skip
