"""Load a network by name, or from a folder written by `export`."""

import json
import os
from pathlib import Path
from typing import cast

from torch import nn

from common.config import build
from common.errors import DataError, UsageError
from training.config import NetworkConfig
from training.models.registry import make_network, trained_network
from training.models.rescaled import HALF, Rescaled
from training.models.weights import read_weights

CONFIG, WEIGHTS = "config.json", "model.safetensors"


def load_network(
    name: str | os.PathLike[str],
    classes: int | None = None,
    weights: str = "",
    *,
    width: int = 64,
    seed: int = 0,
) -> nn.Module:
    """Return a network from images float [B, 3, H, W] in [−1, 1] to logits [B, classes].

    `name`: as network.name (docs/reference/config.md), with the number of `classes` and optionally a file of `weights`;
    or a folder written by `export`, whose network is returned in evaluation mode, with the attribute `class_names`.
    Raises UsageError for an unknown name, and for `classes` or `weights` that contradict a folder; DataError for weights that
    do not fit.
    """
    folder = Path(name)
    if (folder / CONFIG).is_file():
        network = _exported(folder)
        names = cast(tuple[str, ...], network.class_names)
        if classes not in (None, len(names)) or weights:
            raise UsageError(
                f"{name}: an exported network of {len(names)} classes with its own weights, but got classes={classes}, "
                f"weights={weights!r}; leave out both"
            )
        return network
    if classes is None:
        raise DataError(
            f"{name}: not a folder of an exported network; give `classes` to build a network by name"
        )
    return make_network(NetworkConfig(str(name), width, weights), classes, seed)


def _exported(folder: Path) -> nn.Module:
    path = folder / CONFIG
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        config = build(NetworkConfig, about["network"], str(path))
        names, scale = tuple(map(str, about["label_names"])), about["pretrained_cfg"]
        mean, deviation = tuple(map(float, scale["mean"])), tuple(map(float, scale["std"]))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not written by `export` ({error!r}); export the run again") from error
    tensors = read_weights(folder / WEIGHTS)
    try:
        network = trained_network(config, len(names), tensors, folder / WEIGHTS, "export the run again")
    except UsageError as error:
        raise DataError(f"{path}: not written by `export` ({error}); export the run again") from error
    if (mean, deviation) != (HALF, HALF):
        network = Rescaled(network, mean, deviation)
    network.class_names = names  # type: ignore[assignment]
    return network.eval().requires_grad_(False)
