"""Networks whose weights expect another pixel scale than [−1, 1]."""

import torch
from torch import Tensor, nn

HALF = (0.5, 0.5, 0.5)  # mean and deviation of inputs in [−1, 1]


class Rescaled(nn.Module):
    """A network whose weights expect pixels normalized by `mean` and `deviation`; its inputs are in [−1, 1]."""

    factor: Tensor
    offset: Tensor

    def __init__(self, network: nn.Module, mean: tuple[float, ...], deviation: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network
        self.pixel_mean, self.pixel_deviation = mean, deviation
        spread, middle = torch.tensor(deviation).view(3, 1, 1), torch.tensor(mean).view(3, 1, 1)
        self.register_buffer("factor", 0.5 / spread, persistent=False)
        self.register_buffer("offset", (0.5 - middle) / spread, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [B, classes] for images float [B, 3, H, W] in [−1, 1]."""
        logits: Tensor = self.network(images * self.factor + self.offset)
        return logits


def without_rescaling(network: nn.Module) -> nn.Module:
    """Return the network inside a Rescaled, and any other network itself."""
    return network.network if isinstance(network, Rescaled) else network
