"""Pretrained weights from local files."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from common.errors import DataError

PRETRAINED = "pretrained"
SUFFIXES = (".safetensors", ".pth")


def load_weights(weights: str, network: str) -> dict[str, Tensor]:
    """Read the weights of `network` from a file, or from the file of that name in a folder. Raises DataError."""
    path, name = Path(weights), network.rpartition("/")[2]
    if not path.is_dir():
        return read_weights(path)
    files = [path / f"{name}{suffix}" for suffix in SUFFIXES]
    for file in files:
        if file.is_file():
            return read_weights(file)
    raise DataError(f"network.weights: no {' or '.join(file.name for file in files)} in {path}; name a file")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a .safetensors file, or tensors (and nothing else) that torch saved. Raises DataError."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
        if not (isinstance(content, Mapping) and all(isinstance(one, Tensor) for one in content.values())):
            raise ValueError("it holds no plain state dictionary")
        return dict(content)
    except Exception as error:  # the readers raise whatever a damaged or hostile file makes them stumble over
        raise DataError(f"{path}: no readable weights ({error}); give a .safetensors or .pth file") from error


def fill_network(network: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Copy weights into a network; the head stays as drawn if it is for another number of classes.

    Heads of training alone (AuxLogits, aux1, aux2) are passed over. Raises DataError if anything else differs.
    """
    mine = network.state_dict()
    given = {name: one for name, one in tensors.items() if not name.lower().startswith("aux")}
    heads = {name for name in mine.keys() & given.keys() if mine[name].shape != given[name].shape}
    odd = sorted(mine.keys() ^ given.keys())
    odd += sorted(n for n in heads if mine[n].shape[1:] != given[n].shape[1:] or len(heads) > 2)
    if odd:
        raise DataError(f"{where}: weights of another network ({odd[0]}, …); give those of network.name")
    network.load_state_dict({name: mine[name] if name in heads else one for name, one in given.items()})
