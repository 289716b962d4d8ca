"""Averaged weights for evaluation, as tf.train.ExponentialMovingAverage keeps them in the MentorMix code."""

import copy

import torch
from torch import nn


class AveragedWeights:
    """Exponential moving average of the parameters, with decay min(decay, (1 + step)/(10 + step)).

    Batch norm's running statistics are not averaged but those of the trained network, as in that code
    (it averages the trainable variables).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.source = network
        self.network = copy.deepcopy(network).requires_grad_(False)
        self._averages = [parameter.data for parameter in self.network.parameters()]
        self._parameters = [parameter.data for parameter in network.parameters()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after `step` (0 for the first)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._averages, self._parameters, 1 - decay)

    @torch.no_grad()
    def for_evaluation(self) -> nn.Module:
        """Return the averaged network with the current running statistics."""
        for mine, current in zip(self.network.buffers(), self.source.buffers(), strict=True):
            mine.copy_(current)
        return self.network
