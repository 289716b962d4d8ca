"""The forward passes of a network that methods use."""

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor, autocast, bfloat16, nn

from common.errors import UsageError
from training.errors import NO_MEMORY, NOT_DETERMINISTIC
from training.models.freezing import evaluation_mode

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class Student:
    """The forward passes of a network in training mode; see `ForwardPasses`.

    Logits are float32 [B, classes], whatever the precision of the pass.
    """

    def __init__(self, network: nn.Module, bf16: bool | None, compile_mode: str = "off") -> None:
        """`bf16`: whether to autocast to bfloat16; None: as the caller's autocast does. `compile_mode`: `off`, or a mode
        of torch.compile; UsageError in the first pass if torch cannot compile the network, as without a C++ compiler."""
        self.network, self.compile_mode = network, compile_mode
        self.forward: Callable[[Tensor], Tensor] = network
        if compile_mode != "off":
            self._compiled_network = torch.compile(network, mode=compile_mode)
            self.forward = self._compiled
        self.bf16 = bf16
        self.norms = [module for module in network.modules() if isinstance(module, BATCH_NORMS)]

    def __call__(self, images: Tensor) -> Tensor:
        """Return logits with gradient; batch norm uses the batch and updates its running statistics."""
        with (
            nullcontext() if self.bf16 is None else autocast(images.device.type, bfloat16, enabled=self.bf16)
        ):
            logits: Tensor = self.forward(images)
        return logits.float()

    def _compiled(self, images: Tensor) -> Tensor:
        """Run the compiled network. torch compiles it in the first call, with a compiler of the machine."""
        try:
            logits: Tensor = self._compiled_network(images)
        except RuntimeError as error:
            # errors that have nothing to do with compiling, and have remedies of their own
            if isinstance(error, torch.OutOfMemoryError) or any(
                words in str(error) for words in (NO_MEMORY, NOT_DETERMINISTIC)
            ):
                raise
            reason = str(error).partition("\n")[0]
            raise UsageError(
                f"compile={self.compile_mode}: the compiled network cannot be run ({reason}); install a C++ compiler such as "
                "g++ if there is none, or set compile=off"
            ) from error
        return logits

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
