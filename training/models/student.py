"""The forward passes of a network that methods use."""

from contextlib import nullcontext

import torch
from torch import Tensor, autocast, bfloat16, nn

from training.models.freezing import evaluation_mode

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class Student:
    """The forward passes of a network in training mode; see `ForwardPasses`.

    Logits are float32 [B, classes], whatever the precision of the pass.
    """

    def __init__(self, network: nn.Module, bf16: bool | None, compile_mode: str = "off") -> None:
        """`bf16`: whether to autocast to bfloat16; None: as the caller's autocast does. `compile_mode`: `off`, or a mode
        of torch.compile."""
        self.network = network
        self.forward = network if compile_mode == "off" else torch.compile(network, mode=compile_mode)
        self.bf16 = bf16
        self.norms = [module for module in network.modules() if isinstance(module, BATCH_NORMS)]

    def __call__(self, images: Tensor) -> Tensor:
        """Return logits with gradient; batch norm uses the batch and updates its running statistics."""
        with (
            nullcontext() if self.bf16 is None else autocast(images.device.type, bfloat16, enabled=self.bf16)
        ):
            logits: Tensor = self.forward(images)
        return logits.float()

    @torch.no_grad()
    def infer(self, images: Tensor) -> Tensor:
        """Return logits in evaluation mode without gradient; batch norm uses its running statistics."""
        with evaluation_mode([self.network]):
            return self(images)

    @torch.no_grad()
    def preview(self, images: Tensor) -> Tensor:
        """Return logits in training mode without gradient; batch norm uses the batch and keeps its running statistics."""
        for norm in self.norms:
            norm.track_running_stats = False
        try:
            return self(images)
        finally:
            for norm in self.norms:
                norm.track_running_stats = True
