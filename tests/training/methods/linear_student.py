"""A linear student and random batches, on which a method can be compared with a slow NumPy rendering."""

import numpy as np
import torch
from torch import Tensor

from training.methods.interface import Batch, RunFacts

CPU = torch.device("cpu")
B, CLASSES = 16, 5


FACTS = RunFacts(CLASSES, 40, CPU)


class Linear:
    """A student without batch norm: logits = flattened images · W."""

    def __init__(self, seed: int = 5) -> None:
        source = torch.Generator().manual_seed(seed)
        self.kernel = torch.randn(12, CLASSES, generator=source, requires_grad=True)

    def __call__(self, images: Tensor) -> Tensor:
        return images.flatten(1) @ self.kernel

    def preview(self, images: Tensor) -> Tensor:
        return self(images).detach()

    infer = preview


def batch(percent: int, draws: dict[str, Tensor], seed: int = 0) -> Batch:
    rng = torch.Generator().manual_seed(seed)
    images = torch.randn(B, 3, 2, 2, generator=rng)
    return Batch(images, torch.randint(CLASSES, (B,), generator=rng), percent, draws)


def probabilities(one: Batch, student: Linear) -> tuple[np.ndarray, list[int]]:
    """Softmax in float64, one example at a time, and the labels."""
    kernel = student.kernel.detach().double().numpy()
    rows = []
    for x in one.images.double().numpy():
        z = x.reshape(-1) @ kernel
        rows.append(np.exp(z - z.max()) / np.exp(z - z.max()).sum())
    return np.array(rows), one.labels.tolist()
