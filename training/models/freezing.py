"""Frozen parts of networks, and the training and evaluation mode of networks that have one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches

from torch import nn

from common.errors import UsageError
from training.models.rescaled import without_rescaling


def freeze_before(network: nn.Module, name: str) -> None:
    """Freeze the parameters that a network defines before those of the module `name`; empty: none.

    Raises UsageError if the network has no module of this name, or if it is the first.
    """
    if not name:
        return
    parameters = dict(without_rescaling(network).named_parameters())
    count = next((i for i, full in enumerate(parameters) if full.startswith(f"{name}.")), None)
    if count is None:
        modules = list(dict.fromkeys(".".join(full.split(".")[:-1][:2]) for full in parameters))[1:]
        near = get_close_matches(name, modules, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else f"give one of {', '.join(modules)}"
        raise UsageError(f"network.train_from: the network has no module {name!r} with parameters; {hint}")
    if not count:
        raise UsageError(
            f"network.train_from: {name!r} is the first module of the network, so nothing would be frozen; leave the key out"
        )
    for parameter in list(parameters.values())[:count]:
        parameter.requires_grad_(False)


def train_mode(network: nn.Module) -> nn.Module:
    """Set a network to training mode, but modules whose parameters are all frozen to evaluation mode; return it."""
    network.train()
    for module in network.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()  # batch norm keeps its running statistics, and nothing is dropped
    return network


@contextmanager
def evaluation_mode(networks: Sequence[nn.Module]) -> Iterator[None]:
    """Set networks to evaluation mode inside the block, then each of their modules to its earlier mode."""
    earlier = [(module, module.training) for network in networks for module in network.modules()]
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for module, training in earlier:
            module.training = training
