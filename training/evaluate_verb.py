"""The verb evaluate."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from common.errors import DataError
from training.data.remote import local_copy
from training.data.shards import load
from training.device import choose_device, kernel_settings
from training.evaluation import accuracy, memorization, predict
from training.features.extract import FEATURES, with_features
from training.features.vectors import make_augmenter
from training.flags import bytes_of
from training.input_files import backbone_digest
from training.models.forward_cost import check_image_size
from training.precision import choose_precision
from training.printing import print_accuracies
from training.run_directory import check_inputs, read_config, recorded
from training.trained_networks import load_trained_networks


def verb(arguments: argparse.Namespace) -> int:
    """Evaluate the averaged weights of a run (its last weights if it does not average) on one set."""
    folder = local_copy(arguments.data, [arguments.set_name], arguments.cache)
    config, device = read_config(arguments.run), choose_device()
    check_inputs(arguments.run, backbone_digest(config.network))
    # the images of a frozen network stay encoded, as in training, so that its features are found
    data = load(folder / arguments.set_name, 0 if config.network.frozen else bytes_of(arguments.resident_gb))
    _check_classes(arguments.run, folder / arguments.set_name, data.class_names)
    check_image_size(config, data)
    precision = choose_precision(config, data, arguments.run, device)
    config = replace(config, precision=precision)
    if config.network.frozen:
        cache = arguments.features or arguments.run.parent / FEATURES
        [data] = with_features(config, (data,), cache, device, progress=not arguments.json)
    trained = load_trained_networks(arguments.run, len(data.class_names), device)
    data = data.to(device)
    augmenter = make_augmenter(config, data, device)
    with kernel_settings(device, config.deterministic):  # those of training
        predicted = predict(trained.networks, data, augmenter, precision == "bf16")
    result: dict[str, Any] = {"set_name": arguments.set_name, "step": trained.step, "images": len(data)}
    result["accuracy"] = accuracy(predicted, data.labels)
    if not bool(data.is_clean.all()):
        result |= memorization(predicted, data)
    print_accuracies(result, len(data), "accuracy", arguments.json)
    return 0


def _check_classes(run: Path, folder: Path, class_names: Sequence[str]) -> None:
    """Raise DataError if the classes of a set are not those of the run, in the same order. Old runs have no record of them."""
    trained = (recorded(run, "data") or {}).get("class_names")
    if trained is not None and list(trained) != list(class_names):
        raise DataError(
            f"{folder}: the classes {list(class_names)} are not those of the run, {list(trained)} ({run}); give a set with "
            "the classes of the run, in their order"
        )
