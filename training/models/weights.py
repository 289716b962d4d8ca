"""Pretrained weights from local files."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from common.errors import DataError

PRETRAINED = "pretrained"
SUFFIXES = (".safetensors", ".pth")


def find_weights(weights: str, network: str) -> Path:
    """Return the file of weights of `network` that `weights` names: a file, or a folder that has one named after it.

    The file need not exist. Of a folder with neither, it is the file that is looked for first.
    """
    path, name = Path(weights), network.rpartition("/")[2]
    if not path.is_dir():
        return path
    files = [path / f"{name}{suffix}" for suffix in SUFFIXES]
    return next((file for file in files if file.is_file()), files[0])


def load_weights(weights: str, network: str) -> dict[str, Tensor]:
    """Read the weights of `network` from the file that `weights` names.

    Raises DataError if there is no such file or it cannot be read.
    """
    path = find_weights(weights, network)
    if Path(weights).is_dir() and not path.is_file():
        names = " or ".join(path.with_suffix(suffix).name for suffix in SUFFIXES)
        raise DataError(f"network.weights: {weights} has no {names}; give the path of a file")
    return read_weights(path)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a .safetensors file, or a state dictionary saved by torch, without running code. Raises DataError."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
        if not (
            isinstance(content, Mapping) and all(isinstance(value, Tensor) for value in content.values())
        ):
            raise ValueError("it is not a state dictionary of tensors")
        return dict(content)
    except Exception as error:  # a damaged or hostile file can raise any exception
        raise DataError(
            f"{path}: not a readable file of weights ({error}); give a .safetensors or .pth file"
        ) from error


def fill_network(network: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copy weights into a network; heads for another number of classes keep their initial weights.

    Auxiliary heads (AuxLogits, aux1, aux2) that the network lacks are ignored. Raises DataError if other names or shapes
    differ.
    """
    current = network.state_dict()
    given = {
        name: tensor
        for name, tensor in tensors.items()
        if name in current or not name.lower().startswith("aux")
    }
    heads = {name for name in current.keys() & given.keys() if current[name].shape != given[name].shape}
    odd = sorted(current.keys() ^ given.keys())
    odd += sorted(name for name in heads if current[name].shape[1:] != given[name].shape[1:])
    if len({(current[name].shape[:1], given[name].shape[:1]) for name in heads}) > 1:
        odd += sorted(heads)  # the heads of a network have the same number of classes
    if odd:
        raise DataError(
            f"{source}: weights of another network (tensor {odd[0]!r} differs); give the weights of network.name"
        )
    network.load_state_dict(
        {name: current[name] if name in heads else tensor for name, tensor in given.items()}
    )
