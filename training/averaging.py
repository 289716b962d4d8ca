"""Averaged weights for evaluation, as in the MentorMix code (tf.train.ExponentialMovingAverage)."""

import copy

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class AveragedWeights:
    """Exponential moving average of the parameters, with decay min(decay, (1 + step)/(10 + step)).

    Only trainable variables are averaged, as in that code; running statistics of batch norm are copied from the trained
    network, and frozen parameters stay.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.source = network
        self.network = copy.deepcopy(network).requires_grad_(False)
        trained = [
            (average.data, parameter.data)
            for average, parameter in zip(self.network.parameters(), network.parameters(), strict=True)
            if parameter.requires_grad
        ]
        self._averages, self._parameters = map(list, zip(*trained, strict=True))

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Add the weights after `step`, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        get_ema_multi_avg_fn(decay)(self._averages, self._parameters, step)

    @torch.no_grad()
    def for_evaluation(self) -> nn.Module:
        """Return the averaged network with the current running statistics."""
        for buffer, current in zip(self.network.buffers(), self.source.buffers(), strict=True):
            buffer.copy_(current)
        return self.network
