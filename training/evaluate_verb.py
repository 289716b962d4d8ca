"""The verb evaluate."""

import argparse
from dataclasses import replace
from typing import Any

from training.data.remote import local_copy
from training.data.shards import load
from training.device import choose_device
from training.evaluation import accuracy, memorization, predict
from training.features.extract import FEATURES, with_features
from training.features.vectors import make_augmenter
from training.precision import choose_precision
from training.printing import print_accuracies
from training.run_directory import read_config
from training.trained_networks import load_trained_networks


def verb(arguments: argparse.Namespace) -> int:
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
    print_accuracies(result, len(data), "accuracy", arguments.json)
    return 0
