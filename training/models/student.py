"""The network as a method sees it: a training pass, and a preview that leaves no trace."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class Student:
    """A network in training mode with the kinds of pass that methods need.

    Logits come back as float32 [B, classes], whatever the precision inside.
    """

    def __init__(self, network: nn.Module, bf16: bool, compile_mode: str = "off") -> None:
        """`compile_mode`: off, or a mode of torch.compile."""
        self.network = network
        self.forward = network if compile_mode == "off" else torch.compile(network, mode=compile_mode)
        self.bf16 = bf16
        self.norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]

    def __call__(self, images: Tensor) -> Tensor:
        """Pass with gradient; batch norm uses the batch and updates its running statistics."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16):
            logits: Tensor = self.forward(images)
        return logits.float()

    @torch.no_grad()
    def infer(self, images: Tensor) -> Tensor:
        """Pass in evaluation mode, without gradient; batch norm uses its running statistics."""
        self.network.eval()
        try:
            return self(images)
        finally:
            self.network.train()

    @torch.no_grad()
    def preview(self, images: Tensor) -> Tensor:
        """Pass without gradient; batch norm uses the batch, its running statistics stay as they are."""
        for norm in self.norms:
            norm.track_running_stats = False
        try:
            return self(images)
        finally:
            for norm in self.norms:
                norm.track_running_stats = True
