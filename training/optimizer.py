"""SGD with momentum, its learning rate as a function of the step, and which parameters decay."""

import math
from bisect import bisect_right

import torch
from torch import Tensor, nn

from training.config import Optimizer as Config


class MomentumSGD:
    """Heavy-ball SGD as tf.train.MomentumOptimizer: m ← μ·m + g, w ← w − η·m; not Nesterov.

    g includes weight decay (the gradient of ½‖W‖²) on convolution and dense kernels, and on nothing else.
    """

    # torch.optim loads the whole compiler on first use: seconds, which a demonstration does not have

    def __init__(self, network: nn.Module, config: Config, decays_weights: bool) -> None:
        self.momentum = config.momentum
        self.weight_decay = config.weight_decay if decays_weights else 0.0
        self.parameters: dict[str, Tensor] = dict(network.named_parameters())
        self.momenta: dict[str, Tensor] = {n: torch.zeros_like(p) for n, p in self.parameters.items()}
        self._kernels = [parameter for parameter in self.parameters.values() if parameter.ndim >= 2]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Take one step at learning rate `rate`, and forget the gradients."""
        parameters, momenta = list(self.parameters.values()), list(self.momenta.values())
        gradients = [_gradient(parameter) for parameter in parameters]
        if self.weight_decay:
            on_kernels = [_gradient(kernel) for kernel in self._kernels]
            torch._foreach_add_(on_kernels, self._kernels, alpha=self.weight_decay)
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
    else:
        fall = config.decay ** bisect_right(config.milestones, step // steps_per_epoch)
    return config.learning_rate * rise * fall
