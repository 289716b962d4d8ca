"""SGD with momentum and AdamW, the learning rate as a function of the step, and which parameters decay."""

import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Protocol

import torch
from torch import Tensor, nn

from training.config import OptimizerConfig
from training.exact import exact_fraction
from training.methods.interface import Method


class Optimizer(Protocol):
    """What the trainer needs of an optimizer."""

    @property
    def state(self) -> Mapping[str, Tensor]:
        """What must survive a restart, by name; changed in place."""

    def gradients(self) -> list[Tensor]:
        """Return the gradients that there are."""

    def step(self, rate: float) -> None:
        """Take one step at learning rate `rate`, and forget the gradients."""


class MomentumSGD:
    """Heavy-ball SGD as tf.train.MomentumOptimizer: m ← μ·m + g, w ← w − η·m; not Nesterov.

    g includes weight decay (the gradient of ½‖W‖²) on convolution and dense kernels, and on nothing else.
    """

    # torch.optim loads the whole compiler on first use: seconds, which a demonstration does not have

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        momentum: float,
        weight_decay: float,
        free: Set[str] = frozenset(),
        factors: Mapping[str, float] | None = None,
    ) -> None:
        """`free`: names of parameters that do not decay though they have two dimensions; `factors`: of the learning
        rate, by name.
        """  # fmt: skip
        self.momentum, self.weight_decay = momentum, weight_decay
        self.parameters = dict(parameters)
        self.momenta: dict[str, Tensor] = {n: torch.zeros_like(p) for n, p in self.parameters.items()}
        self.state: Mapping[str, Tensor] = self.momenta
        self._decaying = _decaying(self.parameters, free)
        self._factors = dict(factors or {})

    def gradients(self) -> list[Tensor]:
        """Return the gradients that there are."""
        return [_gradient(one) for one in self.parameters.values() if one.grad is not None]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Take one step at learning rate `rate`, and forget the gradients.

        A parameter without a gradient stays as it is: the network that is not trained in this phase.
        """
        touched = [name for name, parameter in self.parameters.items() if parameter.grad is not None]
        parameters: list[Tensor] = [self.parameters[name] for name in touched]
        momenta = [self.momenta[name] for name in touched]
        gradients = [_gradient(parameter) for parameter in parameters]
        if self.weight_decay:
            kernels: list[Tensor] = [self.parameters[name] for name in touched if name in self._decaying]
            torch._foreach_add_([_gradient(kernel) for kernel in kernels], kernels, alpha=self.weight_decay)
        torch._foreach_mul_(momenta, self.momentum)
        torch._foreach_add_(momenta, gradients)
        for factor in dict.fromkeys(self._factors.get(name, 1.0) for name in touched):
            group = [index for index, name in enumerate(touched) if self._factors.get(name, 1.0) == factor]
            torch._foreach_add_(
                [parameters[index] for index in group],
                [momenta[index] for index in group],
                alpha=-rate * factor,
            )
        for parameter in parameters:
            parameter.grad = None


class AdamW:
    """torch.optim.AdamW (Loshchilov & Hutter, ICLR 2019), with a state that a checkpoint can be read into."""

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        weight_decay: float,
        free: Set[str] = frozenset(),
        factors: Mapping[str, float] | None = None,
    ) -> None:
        """`free`, `factors`: as for MomentumSGD."""
        self._parameters = dict(parameters)
        decaying, factors = _decaying(self._parameters, free), factors or {}
        groups = [
            {"params": [p], "weight_decay": weight_decay if name in decaying else 0.0, "name": name}
            for name, p in self._parameters.items()
        ]
        self._optimizer = torch.optim.AdamW(groups, lr=0.0)
        self._factors = [factors.get(name, 1.0) for name in self._parameters]
        start = {
            index: {
                "step": torch.tensor(0.0),
                "exp_avg": torch.zeros_like(p),
                "exp_avg_sq": torch.zeros_like(p),
            }
            for index, p in enumerate(self._parameters.values())
        }
        self._optimizer.load_state_dict(self._optimizer.state_dict() | {"state": start})
        self.state: Mapping[str, Tensor] = {
            f"{name}.{kind}": tensor
            for name, p in self._parameters.items()
            for kind, tensor in self._optimizer.state[p].items()
        }

    def gradients(self) -> list[Tensor]:
        """Return the gradients that there are."""
        return [_gradient(one) for one in self._parameters.values() if one.grad is not None]

    def step(self, rate: float) -> None:
        """Take one step at learning rate `rate`, and forget the gradients."""
        for group, factor in zip(self._optimizer.param_groups, self._factors, strict=True):
            group["lr"] = rate * factor
        self._optimizer.step()
        self._optimizer.zero_grad()


def _decaying(parameters: Mapping[str, nn.Parameter], free: Set[str]) -> Set[str]:
    """Names of the kernels: what has two dimensions or more, and is not free."""
    return {name for name, parameter in parameters.items() if parameter.ndim >= 2} - free


def layer_factors(names: Iterable[str], decay: float) -> dict[str, float]:
    """Return the factor of the learning rate of each parameter of a network, given their names in order.

    A stage is what shares the name up to its first part with a digit, or its first part: `blocks.2`, `layer3`, `head`.
    The last one has factor 1, each one before it `decay` times that of the next.
    """
    stage_of = {name: _stage(name) for name in names}
    stages = list(dict.fromkeys(stage_of.values()))
    return {name: decay ** (len(stages) - 1 - stages.index(stage)) for name, stage in stage_of.items()}


def _stage(name: str) -> str:
    found = re.match(r"(?:[^\d.]+\.)*[^.]*\d[^.]*(?=\.)", name)
    return found[0] if found else name.partition(".")[0]


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def learning_rate(config: OptimizerConfig, step: int, steps_per_epoch: int, epochs: int) -> float:
    """Return the rate of a step, 0…epochs·steps_per_epoch − 1."""
    warmup = config.warmup_epochs * steps_per_epoch
    rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
    if config.schedule == "cosine":
        fall = 0.5 * (1 + math.cos(math.pi * step / (epochs * steps_per_epoch)))
    elif config.decay_every:
        fall = config.decay ** (step // exact_fraction(config.decay_every))
    else:
        fall = config.decay ** bisect_right(config.milestones, step // steps_per_epoch)
    return config.learning_rate * rise * fall


def make_optimizer(config: OptimizerConfig, method: Method, networks: Sequence[nn.Module]) -> Optimizer:
    """Return the optimizer of all networks and of the method's own parameters, which do not decay."""
    own = {f"method.{name}": parameter for name, parameter in method.parameters.items()}
    theirs: dict[str, nn.Parameter] = {}
    factors: dict[str, float] = {}
    for number, network in enumerate(networks):
        named = dict(network.named_parameters())
        theirs |= {f"network{number}.{name}": parameter for name, parameter in named.items()}
        found = layer_factors(named, config.layer_decay)
        factors |= {f"network{number}.{name}": factor for name, factor in found.items()}
    decay = method.weight_decay(config.weight_decay)
    if config.name == "adamw":
        return AdamW(theirs | own, decay, own.keys(), factors)
    return MomentumSGD(theirs | own, config.momentum, decay, own.keys(), factors)
