"""What each verb does, given its parsed arguments."""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from schemas.config import build, merge, parse_overrides, parse_yaml
from schemas.errors import UsageError
from training import checkpoint
from training.data.augment import Augmenter
from training.data.remote import local_copy
from training.data.shards import load, load_pair, read_manifest
from training.device import choose_device, use_bf16
from training.evaluation import accuracy, memorisation, predict
from training.methods.choose import make_method
from training.methods.interface import Facts
from training.models.choose import make_network
from training.recipes.choose import configure
from training.run_directory import read_config, read_result, write_json
from training.show import show
from training.stop_signal import StopSignal
from training.study import grid, runs, summary, table
from training.tensorboard import tensorboard_log
from training.trainer import Trainer
from training.world import join_world


def train(arguments: argparse.Namespace) -> int:
    """Train one run; a first Ctrl-C saves a checkpoint and stops, a second one stops at once.

    Under torchrun each process calls this, and they share every batch.
    """
    overrides = parse_overrides(arguments.set)
    if arguments.method:
        overrides["method"] = arguments.method
    try:
        with join_world() as (world, device), StopSignal() as stop:
            leader = world.rank == 0
            data = Path(arguments.data)
            if leader:
                data = local_copy(arguments.data, [arguments.split, arguments.test], arguments.cache)
            world.wait()
            data = data if leader or not arguments.cache else arguments.cache
            manifest, _ = read_manifest(data / arguments.split)
            config = configure(arguments.recipe, manifest.about["noise_level"], overrides)
            most = int(arguments.resident_gb * 2**30)
            sets = load_pair(data, arguments.split, arguments.test, most)
            log = tensorboard_log(arguments.output) if arguments.tensorboard and leader else dict
            result = Trainer(config, *sets, device, world).run(
                arguments.output, resume=arguments.resume, progress=not arguments.json, stop=stop, log=log
            )
    except KeyboardInterrupt:
        print(f"stopped; go on with the same command and --resume ({arguments.output})", file=sys.stderr)
        return 130
    if leader:
        show(result, arguments.json)
    return 0


def evaluate(arguments: argparse.Namespace) -> int:
    """Measure a run's averaged weights (or the plain ones, without averaging) on one set."""
    folder = local_copy(arguments.data, [arguments.split], arguments.cache)
    config, data, device = read_config(arguments.run), load(folder / arguments.split), choose_device()
    tensors, state = checkpoint.load(arguments.run, device)
    method = make_method(config, Facts(len(data.class_names), 1, device))
    networks = []
    for number in range(method.evaluated):
        network = make_network(config.network, len(data.class_names), config.seed, number).to(device)
        weights = checkpoint.part(tensors, f"network{number}") | checkpoint.part(tensors, f"average{number}")
        checkpoint.restore(network.state_dict(), weights, arguments.run)
        networks.append(network)
    data = data.to(device)
    augmenter = Augmenter(config.augment, *data.pictures.size, device)
    predicted = predict(networks, data, augmenter, use_bf16(config.precision, device))
    result: dict[str, Any] = {"split": arguments.split, "step": state["step"], "images": len(data)}
    result["accuracy"] = accuracy(predicted, data.labels)
    if not bool(data.is_clean.all()):
        result |= memorisation(predicted, data)
    show(result, arguments.json)
    return 0


def study(arguments: argparse.Namespace) -> int:
    """Train what is missing of a grid, and gather all results in one table; 1 if a run failed."""
    config = _study_config(arguments)
    cells = grid.plan(config, arguments.data)
    folder = arguments.output / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    write_json(arguments.output / "study.json", asdict(config))
    todo = {cell.run.name for cell in cells if read_result(folder / cell.run.name) is None}
    print(f"{len({cell.run.name for cell in cells})} runs, {len(todo)} to train", file=sys.stderr)
    try:
        ended = runs.run_all(
            [cell.run for cell in cells], arguments.data, config.test, folder, arguments.jobs
        )
        for done, run in enumerate(ended, 1):
            tqdm.write(f"[{done}/{len(todo)}] {_outcome(folder / run.name)}", file=sys.stderr)
    except KeyboardInterrupt:
        print("stopped; the same command goes on where it was", file=sys.stderr)
        return 130
    finally:
        results = table.collect(cells, folder)
        table.write(results, arguments.output)
    if arguments.json:
        print(json.dumps(results.to_pylist()))
    else:
        print(summary.markdown(results))
    return 0 if all(status == "finished" for status in results["status"].to_pylist()) else 1


def _study_config(arguments: argparse.Namespace) -> grid.StudyConfig:
    """Read the file, if one is given, and lay the command line on it."""
    raw: dict[str, Any] = {}
    if arguments.config:
        if not arguments.config.is_file():
            raise UsageError(f"--config: no file {arguments.config}")
        raw = parse_yaml(arguments.config.read_text(encoding="utf-8"), str(arguments.config))
    given = {name: getattr(arguments, name) for name in ("levels", "colours", "methods", "seeds", "recipe")}
    raw |= {name: value for name, value in given.items() if value is not None}
    raw["set"] = merge(raw.get("set") or {}, parse_overrides(arguments.set))
    return build(grid.StudyConfig, raw, str(arguments.config or "study"))


def _outcome(directory: Path) -> str:
    result = read_result(directory)
    if result is None:
        return f"{directory.name}: FAILED, {runs.read_failure(directory)}"
    return (
        f"{directory.name}: final {100 * result['final_accuracy']:.1f} %, best "
        f"{100 * result['best_accuracy']:.1f} %, {result['seconds']:.0f} s"
    )


VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    "train": train, "evaluate": evaluate, "study": study,
}  # fmt: skip
