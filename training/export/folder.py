"""Export the network of a finished run as a folder for the Hugging Face hub, which `hf upload` takes as it is.

The layout is that of image models on the hub: `model.safetensors` with the tensor names of torchvision or timm,
`config.json` as timm writes it, `README.md`, and optionally `model.onnx`. `training.load_network(folder)` reads it.
"""

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from common.atomic_file import write_bytes, write_text
from common.errors import DataError, UsageError
from common.new_folder import new_folder
from training.checkpoint import separate
from training.config import TrainConfig
from training.export.card import HubFacts, model_card
from training.input_files import backbone_digest
from training.models.linear_head import LinearHead
from training.models.load import CONFIG, WEIGHTS
from training.models.registry import make_network
from training.models.rescaled import HALF, Rescaled
from training.printing import print_result
from training.records import RunData
from training.run_directory import check_inputs, read_data, read_description, read_result
from training.trained_networks import load_trained_networks

CARD = "README.md"
ONNX = "model.onnx"


def export_run(
    run: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    onnx: bool = False,
    license: str = "",
    dataset_repository: str = "",
) -> Path:
    """Write the network of a finished run to the folder `output`, and return the folder.

    A linear head is merged with its frozen network. `onnx`: also write model.onnx (needs the extra `onnx`). `license`
    and `dataset_repository`: identifiers of the hub for the model card, such as `apache-2.0` and `OWNER/NAME`. An export that was
    interrupted can be repeated. Raises DataError for an unfinished run, and if the file of the frozen network has changed since
    the run; UsageError for a
    method that predicts with two networks, a folder that is not empty, malformed identifiers, and networks that cannot be
    written as ONNX.
    """
    run, output = Path(run), Path(output)
    hub = HubFacts(license, dataset_repository)
    result, data = read_result(run), read_data(run)
    if result is None:
        raise DataError(f"{run}: the run has not finished; train it to the end (--resume)")
    config, network = _read(run, data)
    scale: tuple[tuple[float, ...], tuple[float, ...]] = (HALF, HALF)
    if isinstance(network, Rescaled):
        scale, network = (network.pixel_mean, network.pixel_deviation), network.network
    about = _config_json(config, data, *scale)
    graph = b""
    if onnx:
        from training.export.onnx_file import onnx_bytes  # imports an optional package

        graph = onnx_bytes(network, about)
    content = {"run": read_description(run)["digest"], "onnx": onnx, **asdict(hub)}
    with new_folder(output, content):
        write_text(output / CARD, model_card(config, data, result, about, hub, onnx=onnx))
        # save_file would write a file that only its owner can read
        write_bytes(output / WEIGHTS, save(separate(network.state_dict())))
        if graph:
            write_bytes(output / ONNX, graph)
        write_text(output / CONFIG, json.dumps(about, indent=1, ensure_ascii=False) + "\n")
    return output


def _read(run: Path, data: RunData) -> tuple[TrainConfig, nn.Module]:
    """Return the configuration of a run and its network, with a linear head merged into it."""
    classes = len(data.class_names)
    trained = load_trained_networks(run, classes, torch.device("cpu"))
    config = trained.config
    if len(trained.networks) > 1:
        raise UsageError(
            f"{run}: {config.method} predicts with two networks, which cannot be exported; export a run of another method"
        )
    [network] = trained.networks
    if isinstance(network, LinearHead):
        check_inputs(run, backbone_digest(config.network))
        network = merge_head(network, config, classes)
    return config, network


def merge_head(head: LinearHead, config: TrainConfig, classes: int) -> nn.Module:
    """Return the frozen network with a linear head and its scaling as the last dense layer."""
    network = make_network(config.network, classes, config.seed)
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    with torch.no_grad():
        last.weight.copy_(head.linear.weight * head.scale)
        last.bias.copy_(head.linear.bias - head.linear.weight @ (head.mean * head.scale))
    return network


def _config_json(
    config: TrainConfig, data: RunData, mean: tuple[float, ...], deviation: tuple[float, ...]
) -> dict[str, Any]:
    """Return config.json: architecture, classes and preprocessing as in timm, and the section `network`."""
    height, width = data.image_size
    scaled, size = config.augment.resized_size((height, width)), config.augment.input_size((height, width))
    names = data.class_names
    architecture = config.network.name.rpartition("/")[2]
    if config.network.name.startswith("timm/"):
        architecture = architecture.partition(".")[0]  # the rest names pretrained weights
    return {
        "architecture": architecture,
        "num_classes": len(names),
        "label_names": list(names),
        "pretrained_cfg": {
            "input_size": [3, *size],
            "crop_pct": size[0] / scaled[0],
            "crop_mode": "squash",  # images that are not square are stretched
            "interpolation": "bilinear",
            "mean": list(mean),
            "std": list(deviation),
            "num_classes": len(names),
        },
        "network": asdict(config.network.untrained()),
    }


def verb(arguments: argparse.Namespace) -> int:
    """Export the network, and print the folder."""
    folder = export_run(
        arguments.run,
        arguments.output,
        onnx=arguments.onnx,
        license=arguments.license,
        dataset_repository=arguments.dataset_repository,
    )
    files = [name for name in (WEIGHTS, CONFIG, CARD, ONNX) if (folder / name).is_file()]
    print_result({"folder": str(folder), "files": ", ".join(files)}, arguments.json)
    return 0
