"""SGD, its learning rate as a function of the step, and which parameters decay."""

import math
from bisect import bisect_right

import torch
from torch import nn

from training.config import Optimizer as Config


def make_optimizer(network: nn.Module, config: Config, decays_weights: bool) -> torch.optim.SGD:
    """SGD with momentum; weight decay on convolution and dense kernels only, and only if `decays_weights`."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    kernels = [parameter for parameter in parameters if parameter.ndim >= 2]
    others = [parameter for parameter in parameters if parameter.ndim < 2]
    decay = config.weight_decay if decays_weights else 0.0
    groups = [{"params": kernels, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum, foreach=True)
    for parameter in parameters:  # there from the start, so that every checkpoint holds the same tensors
        optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def learning_rate(config: Config, step: int, steps_per_epoch: int, epochs: int) -> float:
    """Return the rate of a step, 0…epochs·steps_per_epoch − 1."""
    warmup = config.warmup_epochs * steps_per_epoch
    rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
    if config.schedule == "cosine":
        fall = 0.5 * (1 + math.cos(math.pi * step / (epochs * steps_per_epoch)))
    else:
        fall = config.decay ** bisect_right(config.milestones, step // steps_per_epoch)
    return config.learning_rate * rise * fall
