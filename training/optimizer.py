"""SGD with momentum, its learning rate as a function of the step, and which parameters decay."""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence, Set

import torch
from torch import Tensor, nn

from training.config import Optimizer as Config
from training.exact import exact
from training.methods.interface import Method


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
    ) -> None:
        """`free`: names of parameters that do not decay though they have two dimensions."""
        self.momentum, self.weight_decay = momentum, weight_decay
        self.parameters = dict(parameters)
        self.momenta: dict[str, Tensor] = {n: torch.zeros_like(p) for n, p in self.parameters.items()}
        self._decaying = {n for n, p in self.parameters.items() if p.ndim >= 2} - free

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
        torch._foreach_add_(parameters, momenta, alpha=-rate)
        for parameter in parameters:
            parameter.grad = None


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def learning_rate(config: Config, step: int, steps_per_epoch: int, epochs: int) -> float:
    """Return the rate of a step, 0…epochs·steps_per_epoch − 1."""
    warmup = config.warmup_epochs * steps_per_epoch
    rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
    if config.schedule == "cosine":
        fall = 0.5 * (1 + math.cos(math.pi * step / (epochs * steps_per_epoch)))
    elif config.decay_every:
        fall = config.decay ** (step // exact(config.decay_every))
    else:
        fall = config.decay ** bisect_right(config.milestones, step // steps_per_epoch)
    return config.learning_rate * rise * fall


def make_optimizer(config: Config, method: Method, networks: Sequence[nn.Module]) -> MomentumSGD:
    """Return the optimiser of all networks and of the method's own parameters, which do not decay."""
    own = {f"method.{name}": parameter for name, parameter in method.parameters.items()}
    theirs = {
        f"network{number}.{name}": parameter
        for number, network in enumerate(networks)
        for name, parameter in network.named_parameters()
    }
    decay = method.weight_decay(config.weight_decay)
    return MomentumSGD(theirs | own, config.momentum, decay, free=own.keys())
