"""What each verb does, given its parsed arguments."""

import argparse
import json
import signal
import sys
from collections.abc import Callable
from typing import Any

from schemas.config import parse_overrides
from training import checkpoint
from training.data.shards import load, load_pair, read_manifest
from training.device import choose_device, use_bf16
from training.evaluation import accuracy, memorisation, predict
from training.models.choose import make_network
from training.recipes.choose import configure
from training.run_directory import read_config
from training.trainer import Trainer


def train(arguments: argparse.Namespace) -> int:
    """Train one run; a first Ctrl-C saves a checkpoint and stops, a second one stops at once."""
    overrides = parse_overrides(arguments.set)
    if arguments.method:
        overrides["method"] = arguments.method
    manifest, _ = read_manifest(arguments.data / arguments.split)
    config = configure(arguments.recipe, manifest.about["noise_level"], overrides)
    sets = load_pair(arguments.data, arguments.split, arguments.test)
    stop = StopSignal()
    try:
        result = Trainer(config, *sets, choose_device()).run(
            arguments.output, resume=arguments.resume, progress=not arguments.json, stop=stop
        )
    except KeyboardInterrupt:
        print(f"stopped; go on with the same command and --resume ({arguments.output})", file=sys.stderr)
        return 130
    show(result, arguments.json)
    return 0


def evaluate(arguments: argparse.Namespace) -> int:
    """Measure a run's averaged weights (or the plain ones, without averaging) on one set."""
    config, data, device = read_config(arguments.run), load(arguments.data / arguments.split), choose_device()
    tensors, state = checkpoint.load(arguments.run, device)
    network = make_network(config.network, len(data.class_names), config.seed).to(device)
    weights = {name.removeprefix("network."): t for name, t in tensors.items() if name.startswith("network.")}
    weights |= {
        name.removeprefix("average."): t for name, t in tensors.items() if name.startswith("average.")
    }
    checkpoint.restore(network.state_dict(), weights, str(arguments.run / checkpoint.FILE))
    data = data.to(device)
    predicted = predict(network, data.images, use_bf16(config.precision, device))
    result: dict[str, Any] = {"split": arguments.split, "step": state["step"], "images": len(data)}
    result["accuracy"] = accuracy(predicted, data.labels)
    if not bool(data.is_clean.all()):
        result |= memorisation(predicted, data)
    show(result, arguments.json)
    return 0


class StopSignal:
    """Becomes true at the first Ctrl-C or SIGTERM; the second Ctrl-C acts as usual."""

    def __init__(self) -> None:
        self.seen = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._take)

    def __call__(self) -> bool:
        """Tell whether to stop."""
        return self.seen

    def _take(self, _number: int, _frame: object) -> None:
        self.seen = True
        signal.signal(signal.SIGINT, signal.default_int_handler)


def show(result: dict[str, Any], as_json: bool) -> None:
    """Print a result: as JSON, or a line per value."""
    if as_json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:>20}  {value:.4f}" if isinstance(value, float) else f"{name:>20}  {value}")


VERBS: dict[str, Callable[[argparse.Namespace], int]] = {"train": train, "evaluate": evaluate}
