"""Export the network of a finished run: weights, class names, preprocessing, model card.

The layout is that of image models on the Hugging Face hub: `model.safetensors` with the tensor names of torchvision or
timm, `config.json` as timm writes it, `README.md`. `training.load_network(folder)` reads it.
"""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from common.atomic_file import write_text
from common.errors import DataError, UsageError
from training.config import TrainConfig
from training.models.linear_head import LinearHead
from training.models.load import CONFIG, WEIGHTS
from training.models.registry import make_network
from training.models.rescaled import HALF, Rescaled
from training.printing import print_result
from training.run_directory import read_data, read_result
from training.trained_networks import load_trained_networks

CARD = "README.md"


def export_run(run: Path, output: Path) -> Path:
    """Write the network of a finished run to the folder `output`, and return the folder.

    A linear head is merged with its frozen network. Raises DataError for an unfinished run; UsageError for a method
    that predicts with two networks, and for a folder that is not empty.
    """
    result, data = read_result(run), read_data(run)
    if result is None:
        raise DataError(f"{run}: the run has not finished; train it to the end (--resume)")
    trained = load_trained_networks(run, len(data["class_names"]), torch.device("cpu"))
    config = trained.config
    if len(trained.networks) > 1:
        raise UsageError(
            f"{run}: {config.method} predicts with two networks, which cannot be exported; export a run of another method"
        )
    if output.is_dir() and any(output.iterdir()):
        raise UsageError(f"{output}: the folder is not empty; give an empty or new folder")
    [network] = trained.networks
    if isinstance(network, LinearHead):
        network = merge_head(network, config, len(data["class_names"]))
    scale: tuple[tuple[float, ...], tuple[float, ...]] = (HALF, HALF)
    if isinstance(network, Rescaled):
        scale, network = (network.pixel_mean, network.pixel_deviation), network.network
    output.mkdir(parents=True, exist_ok=True)
    config_json = _config_json(config, data, *scale)
    write_text(output / CARD, _card(config, data, result))
    # save_file would write a file that only its owner can read
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    (output / WEIGHTS).write_bytes(save(tensors))
    write_text(output / CONFIG, json.dumps(config_json, indent=1, ensure_ascii=False) + "\n")
    return output


def merge_head(head: LinearHead, config: TrainConfig, classes: int) -> nn.Module:
    """Return the frozen network with a linear head and its scaling as the last dense layer."""
    network = make_network(replace(config.network, frozen=False), classes, config.seed)
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    with torch.no_grad():
        last.weight.copy_(head.linear.weight * head.scale)
        last.bias.copy_(head.linear.bias - head.linear.weight @ (head.mean * head.scale))
    return network


def _config_json(
    config: TrainConfig, data: dict[str, Any], mean: tuple[float, ...], deviation: tuple[float, ...]
) -> dict[str, Any]:
    """Return config.json: architecture, classes and preprocessing as in timm, and the section `network`."""
    height, width = data["image_size"]
    scaled = (config.augment.resize or height, config.augment.resize or width)
    size = (config.augment.size or scaled[0], config.augment.size or scaled[1])
    names = data["class_names"]
    return {
        "architecture": config.network.name.rpartition("/")[2],
        "num_classes": len(names),
        "label_names": names,
        "pretrained_cfg": {
            "input_size": [3, *size],
            "crop_pct": size[0] / scaled[0],
            "crop_mode": "squash",  # images that are not square are stretched
            "interpolation": "bilinear",
            "mean": list(mean),
            "std": list(deviation),
            "num_classes": len(names),
        },
        "network": asdict(replace(config.network, weights="", frozen=False)),
    }


def _card(config: TrainConfig, data: dict[str, Any], result: dict[str, Any]) -> str:
    library = "timm" if config.network.name.startswith(("timm/", "tf_")) else "pytorch"
    names = ", ".join(name.replace("\n", " ") for name in data["class_names"])
    return f"""---
library_name: {library}
pipeline_tag: image-classification
tags: [image-classification, label-noise]
---
# {config.network.name.rpartition("/")[2]}, trained with {config.method}

Trained on `{data["train"]}` (SHA-256 of its manifest: `{data["train_digest"]}`), with label noise.

| measured on `{data["test"]}` | |
|---|---:|
| accuracy | {result["final_accuracy"]:.2%} |

Classes: {names}.

```python
from training import load_network

network = load_network("FOLDER")  # images float [B, 3, H, W] in [−1, 1], of the input_size in config.json
```
"""


def verb(arguments: argparse.Namespace) -> int:
    """Export the network, and print the folder."""
    folder = export_run(arguments.run, arguments.output)
    print_result({"folder": str(folder), "files": ", ".join((WEIGHTS, CONFIG, CARD))}, arguments.json)
    return 0
