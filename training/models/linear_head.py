"""A linear classifier on the features of a frozen network."""

import torch
from torch import Tensor, nn


def head_name(network: nn.Module, classes: int) -> str | None:
    """Return the name of the dense layer that computes the logits of `classes` classes; None unless it is the last dense layer
    and the only one with so many outputs."""
    dense = {
        name: layer.out_features for name, layer in network.named_modules() if isinstance(layer, nn.Linear)
    }
    heads = [name for name, outputs in dense.items() if outputs == classes]
    return heads[0] if len(heads) == 1 and heads[0] == list(dense)[-1] else None


class LinearHead(nn.Module):
    """A linear layer on features that are standardized by their mean and deviation over the training set."""

    mean: Tensor
    scale: Tensor

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.linear = nn.Linear(width, classes)

    @torch.no_grad()
    def fit_scale(self, vectors: Tensor) -> None:
        """Compute mean and deviation of features float32 [N, C]; constant features are only centered."""
        deviation, mean = torch.std_mean(vectors.double(), dim=0, correction=0)
        self.mean.copy_(mean)
        self.scale.copy_(1 / torch.where(deviation > 1e-6, deviation, 1.0))

    def forward(self, features: Tensor) -> Tensor:
        """Return logits [B, classes] for features float [B, C] or [B, C, 1, 1]."""
        logits: Tensor = self.linear((features.flatten(1) - self.mean) * self.scale)
        return logits
