"""A linear classifier on the features of a frozen network."""

import torch
from torch import Tensor, nn


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
