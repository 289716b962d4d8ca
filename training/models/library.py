"""Networks of torchvision and timm, with random, downloaded or local weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import torchvision
from torch import nn

from common.errors import DataError, UsageError
from common.extras import install_command
from training.models.efficientnet_lite import VARIANTS
from training.models.rescaled import Rescaled
from training.models.weights import PRETRAINED, fill_network, load_weights

AUXILIARY = ("inception_v3", "googlenet")  # built without their auxiliary head
OWN_SCALE = ("inception_v3", "googlenet")  # torchvision's weights expect pixels in [−1, 1]


def library_network(name: str, weights: str, classes: int) -> nn.Module:
    """Build `torchvision/NAME` or `timm/NAME` with `classes` outputs.

    `weights`: empty, "pretrained", or the path of a file. A head for another number of classes keeps its random
    weights. Raises UsageError for an unknown name or a missing library, DataError for weights that do not fit or cannot be
    downloaded.
    """
    check_library_name(name)
    library, _, model = name.partition("/")
    network = (_torchvision if library == "torchvision" else _timm)(model, weights, classes)
    return rescaled(network, name) if weights else network


def rescaled(network: nn.Module, name: str) -> nn.Module:
    """Return the network `name` of a library with its inputs rescaled as its pretrained weights expect them."""
    library, _, model = name.partition("/")
    if library == "torchvision":
        if model in OWN_SCALE:
            return network
        preprocessing = torchvision.models.get_model_weights(model).DEFAULT.transforms()
        return Rescaled(network, tuple(preprocessing.mean), tuple(preprocessing.std))
    expects: Mapping[str, Any] = network.pretrained_cfg  # type: ignore[assignment]  # set by timm
    return Rescaled(network, tuple(expects["mean"]), tuple(expects["std"]))


def imagenet_accuracy(name: str) -> float | None:
    """Return the published ImageNet top-1 accuracy of a network's weights, 0 to 1; None if it or the name is unknown."""
    if name in VARIANTS:
        return VARIANTS[name][2]
    library, _, model = name.partition("/")
    if library != "torchvision" or model not in _torchvision_names():
        return None
    measured = torchvision.models.get_model_weights(model).DEFAULT.meta["_metrics"]
    return float(measured["ImageNet-1K"]["acc@1"]) / 100 if "ImageNet-1K" in measured else None


def _torchvision(name: str, weights: str, classes: int) -> nn.Module:
    options: dict[str, Any] = {"aux_logits": False, "init_weights": True} if name in AUXILIARY else {}
    network: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=classes, **options)
    if not weights:
        return network
    if weights == PRETRAINED:
        pretrained = torchvision.models.get_model_weights(name).DEFAULT
        with _downloading(f"torchvision/{name}"):
            tensors = pretrained.get_state_dict(progress=True, check_hash=True, weights_only=True)
    else:
        tensors = load_weights(weights, name)
    fill_network(network, tensors, weights)
    return network


def _timm(name: str, weights: str, classes: int) -> nn.Module:
    import timm

    network: nn.Module
    if weights == PRETRAINED:
        with _downloading(f"timm/{name}"):
            network = timm.create_model(name, pretrained=True, num_classes=classes)
        return network
    network = timm.create_model(name, pretrained=False, num_classes=classes)
    if weights:
        fill_network(network, load_weights(weights, name), weights)
    return network


@contextmanager
def _downloading(name: str) -> Iterator[None]:
    """Convert errors of a library inside the block, in which it downloads weights or reads its cache, to a DataError."""
    try:
        yield
    except Exception as error:
        # Errors of urllib, httpx or huggingface_hub, or a RuntimeError for a wrong digest or weights that do not exist. The
        # message has the type, since it may also be a fault of the library.
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise DataError(
            f"network.weights=pretrained: the weights of {name} could not be downloaded ({reason}); set network.weights to a "
            "file of weights, or run once on a machine with a connection and copy its cache (TORCH_HOME, HF_HOME)"
        ) from error


def check_library_name(name: str) -> None:
    """Raise UsageError if the library of `torchvision/NAME` or `timm/NAME` is not installed or has no such network."""
    library, _, model = name.partition("/")
    if library == "torchvision":
        names = _torchvision_names()
    else:
        try:
            import timm
        except ModuleNotFoundError as error:
            raise UsageError(f"network.name: timm is not installed; {install_command('timm')}") from error
        names, model = timm.list_models(), model.partition(".")[0]
    if model not in names:
        nearest = get_close_matches(model, names, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(nearest)}?" if nearest else f"see {library}.list_models()"
        raise UsageError(f"network.name: {library} has no network {model!r}; {hint}")


def _torchvision_names() -> list[str]:
    return torchvision.models.list_models(module=torchvision.models)
