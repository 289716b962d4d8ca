"""SGD with momentum, AdamW, and the learning-rate schedule."""

import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence, Set
from itertools import groupby
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd

from training.config import OptimizerConfig
from training.exact import exact_fraction
from training.methods.interface import Method
from training.models.rescaled import without_rescaling


class StepOptimizer(Protocol):
    """An optimizer with named state, as the trainer uses it."""

    @property
    def state(self) -> Mapping[str, Tensor]:
        """State tensors to store in a checkpoint, by name; updated in place."""

    def gradients(self) -> list[Tensor]:
        """Return the gradients of the parameters that have one."""

    def step(self, rate: float) -> None:
        """Take one step at learning rate `rate`, then set the gradients to None."""


class MomentumSGD:
    """Heavy-ball SGD as tf.train.MomentumOptimizer: m ← μ·m + g, w ← w − η·m; not Nesterov.

    g includes weight decay (the gradient of ½‖W‖²) for convolution and dense kernels only.

    The step is torch's own `sgd` function. The class torch.optim.SGD imports the compiler on first use: 900 modules and
    1.4 s of CPU time, which is a large part of a short run.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        momentum: float,
        weight_decay: float,
        free: Set[str] = frozenset(),
        factors: Mapping[str, float] | None = None,
    ) -> None:
        """`free`: names of parameters with two dimensions that do not decay. `factors`: factors of the learning rate by
        parameter name, default 1.
        """  # fmt: skip
        self.momentum, self.weight_decay = momentum, weight_decay
        self.parameters = dict(parameters)
        self.momenta: dict[str, Tensor] = {n: torch.zeros_like(p) for n, p in self.parameters.items()}
        self.state: Mapping[str, Tensor] = self.momenta
        self._decaying = _decaying(self.parameters, free)
        self._factors = dict(factors or {})

    def gradients(self) -> list[Tensor]:
        """Return the gradients of the parameters that have one."""
        return [_gradient(parameter) for parameter in self.parameters.values() if parameter.grad is not None]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Take one step at learning rate `rate`, then set the gradients to None.

        Parameters without a gradient do not change: DivideMix trains one of its networks in each phase.
        """
        groups: dict[tuple[bool, float], list[str]] = {}
        for name, parameter in self.parameters.items():
            if parameter.grad is not None:
                group = (name in self._decaying, self._factors.get(name, 1.0))
                groups.setdefault(group, []).append(name)
        for (decays, factor), names in groups.items():
            parameters: list[Tensor] = [self.parameters[name] for name in names]
            sgd(
                parameters, [_gradient(parameter) for parameter in parameters], [self.momenta[name] for name in names],
                foreach=True, weight_decay=self.weight_decay if decays else 0.0, momentum=self.momentum, lr=rate * factor,
                dampening=0.0, nesterov=False, maximize=False,
            )  # fmt: skip
            for name in names:
                self.parameters[name].grad = None


class AdamW:
    """torch.optim.AdamW (Loshchilov & Hutter, ICLR 2019), with named state tensors that exist before the first step."""

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        weight_decay: float,
        free: Set[str] = frozenset(),
        factors: Mapping[str, float] | None = None,
    ) -> None:
        """Take `free` and `factors` as MomentumSGD does."""
        self._parameters = dict(parameters)
        # As few groups as possible: on a GPU each costs some ten kernel launches, whatever it holds.
        groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
        decaying, factors = _decaying(self._parameters, free), factors or {}
        for name, parameter in self._parameters.items():
            groups.setdefault((name in decaying, factors.get(name, 1.0)), []).append(parameter)
        self._optimizer = torch.optim.AdamW(
            [
                {"params": members, "weight_decay": weight_decay if decays else 0.0}
                for (decays, _), members in groups.items()
            ],
            lr=0.0,
        )
        self._factors = [factor for _, factor in groups]
        for p in self._parameters.values():
            self._optimizer.state[p] = {
                "step": torch.tensor(0.0),
                "exp_avg": torch.zeros_like(p),
                "exp_avg_sq": torch.zeros_like(p),
            }
        self.state: Mapping[str, Tensor] = {
            f"{name}.{key}": tensor
            for name, p in self._parameters.items()
            for key, tensor in self._optimizer.state[p].items()
        }

    def gradients(self) -> list[Tensor]:
        """Return the gradients of the parameters that have one."""
        return [_gradient(parameter) for parameter in self._parameters.values() if parameter.grad is not None]

    def step(self, rate: float) -> None:
        """Take one step at learning rate `rate`, then set the gradients to None."""
        for group, factor in zip(self._optimizer.param_groups, self._factors, strict=True):
            group["lr"] = rate * factor
        self._optimizer.step()
        self._optimizer.zero_grad()


def _decaying(parameters: Mapping[str, nn.Parameter], free: Set[str]) -> Set[str]:
    """Return the names of the parameters that decay: kernels of convolutions and dense layers, and not in `free`.

    Kernels are called weight, or like in_proj_weight, and have two or more dimensions. Position embeddings and biases, class
    tokens and layer scales may have as many, but other names.
    """
    kernels = {
        name
        for name, parameter in parameters.items()
        if parameter.ndim >= 2 and name.rpartition(".")[2].endswith("weight")
    }
    return kernels - free


def layer_factors(names: Iterable[str], decay: float) -> dict[str, float]:
    """Return the learning-rate factor of each parameter of a network, given the names in order.

    Parameters of a stage follow each other and share the name up to the first component with a digit, or else the first
    component: `blocks.2`, `layer3`, `head`. The last stage has factor 1, each earlier stage `decay` times the factor of the
    next.
    """
    stages = [list(stage) for _, stage in groupby(names, _stage)]
    return {
        name: decay ** (len(stages) - 1 - number) for number, stage in enumerate(stages) for name in stage
    }


def _stage(name: str) -> str:
    match = re.match(r"(?:[^\d.]+\.)*[^.]*\d[^.]*(?=\.)", name)
    return match[0] if match else name.partition(".")[0]


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def learning_rate(config: OptimizerConfig, step: int, steps_per_epoch: int, epochs: int) -> float:
    """Return the learning rate of `step`, counted from 0 to epochs·steps_per_epoch − 1."""
    warmup = config.warmup_epochs * steps_per_epoch
    rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
    if config.schedule == "cosine":
        fall = 0.5 * (1 + math.cos(math.pi * step / (epochs * steps_per_epoch)))
    elif config.decay_every:
        fall = config.decay ** (step // exact_fraction(config.decay_every))
    else:
        fall = config.decay ** bisect_right(config.milestones, step // steps_per_epoch)
    return config.learning_rate * rise * fall


def make_optimizer(config: OptimizerConfig, method: Method, networks: Sequence[nn.Module]) -> StepOptimizer:
    """Return the optimizer of all networks, without frozen parameters, and of the method, whose parameters do not decay."""
    method_parameters = {f"method.{name}": parameter for name, parameter in method.parameters.items()}
    parameters: dict[str, nn.Parameter] = {}
    factors: dict[str, float] = {}
    for number, network in enumerate(networks):
        named = {f"network{number}.{name}": parameter for name, parameter in network.named_parameters()}
        parameters |= {name: parameter for name, parameter in named.items() if parameter.requires_grad}
        own_names = (name for name, _ in without_rescaling(network).named_parameters())
        factors |= zip(named, layer_factors(own_names, config.layer_decay).values(), strict=True)
    decay = method.weight_decay(config.weight_decay)
    if config.name == "adamw":
        return AdamW(parameters | method_parameters, decay, method_parameters.keys(), factors)
    return MomentumSGD(
        parameters | method_parameters, config.momentum, decay, method_parameters.keys(), factors
    )
