"""Pretrained weights from local files."""

import re
from copy import copy
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from common.errors import DataError

PRETRAINED = "pretrained"
SUFFIXES = (".safetensors", ".pth")
# DenseNet files of torchvision have names such as norm.1, from when names of modules could contain dots. torchvision renames
# them, too, when it downloads the files.
_OLD_DENSE_LAYER = re.compile(r"(.*\.denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)")


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
            isinstance(content, dict)
            and all(isinstance(name, str) and _is_plain(value) for name, value in content.items())
        ):
            raise ValueError("it is not a state dictionary of names and dense tensors")
        return content
    except Exception as error:  # a damaged or hostile file can raise any exception
        raise DataError(
            f"{path}: not a readable file of weights ({error}); give a .safetensors or .pth file"
        ) from error


def _is_plain(value: object) -> bool:
    """Whether a value is a tensor that can be copied into a parameter: not sparse, not quantized, and with data."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
    )


def fill_network(network: nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Copy weights into a network; heads for another number of classes keep their initial weights.

    Auxiliary heads (AuxLogits, aux1, aux2) that the network lacks are ignored. Names of older versions of torchvision are
    accepted, which most of its files have. Raises DataError if other names or shapes differ, or if weights are not real
    numbers in floating point: torch would drop imaginary parts, and take the integers of a quantized network as weights.
    Counts may be in floating point, as in averages of several files.
    """
    current = network.state_dict()
    # copy() keeps the attribute in which torch saves the versions of the modules; dict() would lose it.
    given = copy(tensors)
    for name in tensors:
        if name not in current and name.lower().startswith("aux"):
            del given[name]
        elif renamed := _OLD_DENSE_LAYER.fullmatch(name):
            given["".join(renamed.groups())] = given.pop(name)
    heads = {name for name in current.keys() & given.keys() if current[name].shape != given[name].shape}
    odd = sorted(
        name
        for name in current.keys() & given.keys()
        if given[name].is_complex()
        or (current[name].is_floating_point() and not given[name].is_floating_point())
    )
    odd += sorted(name for name in heads if current[name].shape[1:] != given[name].shape[1:])
    if len({(current[name].shape[:1], given[name].shape[:1]) for name in heads}) > 1:
        odd += sorted(heads)  # the heads of a network have the same number of classes
    for name in heads:
        del given[name]
    if not odd:
        try:
            result = _load(network, given)
        except Exception as error:  # other shapes, an unknown version, or a damaged record of versions
            raise DataError(
                f"{source}: weights of another network ({error}); give the weights of network.name"
            ) from error
        odd = sorted((set(result.missing_keys) ^ heads) | set(result.unexpected_keys))
    if odd:
        raise DataError(
            f"{source}: weights of another network (tensor {odd[0]!r} differs); give the weights of network.name"
        )


def _load(network: nn.Module, given: dict[str, Tensor]) -> Any:
    """Load weights as torch does, which returns the names that are missing and those that are unexpected.

    Modules translate names of their older versions, such as batch norms without counts. Not strict, for the heads.
    """
    try:
        return network.load_state_dict(given, strict=False)
    except ValueError:
        if type(given) is not dict:
            raise
        # A plain dictionary, as of a file of safetensors, has no versions, which MNASNet of torchvision requires.
        versioned = network.state_dict()
        versioned.clear()
        versioned.update(given)
        return network.load_state_dict(versioned, strict=False)
