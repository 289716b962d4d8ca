"""Batch norm over the batches of all processes of a run."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import batch_norm

from common.errors import UsageError
from training.models.student import BATCH_NORMS


class _Normalize(torch.autograd.Function):
    """Normalize x [B, C, …] by the mean and the variance that the batches of all processes have together."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, size: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return x normalized, and mean and variance [C] without gradient."""
        local = torch.stack(torch.var_mean(x.float(), _all_but_channels(x), correction=0))
        gathered = local.new_empty(size, *local.shape)
        dist.all_gather_into_tensor(gathered.view(-1), local.view(-1))
        variances, means = gathered.unbind(1)
        mean = means.mean(0)
        variance = (variances + (means - mean).square()).mean(0)
        ctx.save_for_backward(x, weight, mean, (variance + eps).rsqrt())
        ctx.size = size
        ctx.mark_non_differentiable(mean, variance)
        return batch_norm(x, mean, variance, weight, bias, training=False, eps=eps), mean, variance

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, gradient: Tensor, *_: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor | None, None, None]:
        """Return the gradients of x, weight and bias; those of weight and bias are of this process's batch alone."""
        x, weight, mean, scale = ctx.saved_tensors
        dims, shape = _all_but_channels(x), (1, -1, *[1] * (x.ndim - 2))
        full, normalized = gradient.float(), (x - mean.view(shape)) * scale.view(shape)
        local = torch.stack([full.sum(dims), (full * normalized).sum(dims)])
        total = local.clone()
        dist.all_reduce(total)
        shift, slope = (total / (x.numel() // x.shape[1] * ctx.size)).unbind()
        factor = scale if weight is None else scale * weight
        of_x = (full - shift.view(shape) - normalized * slope.view(shape)) * factor.view(shape)
        of_bias, of_weight = local.unbind()
        return (
            of_x.to(x.dtype),
            of_weight if ctx.needs_input_grad[1] else None,
            of_bias if ctx.needs_input_grad[2] else None,
            None,
            None,
        )


def _all_but_channels(x: Tensor) -> list[int]:
    return [0, *range(2, x.ndim)]


class SynchronizedBatchNorm(nn.BatchNorm2d):
    """Batch norm of [B, C, …] over the batches of all processes, on CPUs and GPUs; all batches have the same size.

    A layer takes one all-gather in the forward pass and one all-reduce in the backward pass. nn.SyncBatchNorm has no CPU
    kernels, and its layers wait for the GPU to learn how many images each process has.
    """

    def __init__(self, norm: nn.Module, size: int) -> None:
        """Create a batch norm for `size` processes with the parameters, statistics and mode of `norm`."""
        assert isinstance(norm, BATCH_NORMS)
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        self.weight, self.bias = norm.weight, norm.bias
        for name, buffer in norm.named_buffers():
            setattr(self, name, buffer)
        self.size = size
        # timm's batch norms contain a dropout and an activation
        self.drop, self.act = getattr(norm, "drop", None), getattr(norm, "act", None)
        self.train(norm.training)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize per channel; in evaluation mode with the running statistics, without the other processes."""
        if self.training:
            result, mean, variance = _Normalize.apply(x, self.weight, self.bias, self.eps, self.size)
            if self.track_running_stats:
                self._update(mean, variance, x.numel() // x.shape[1] * self.size)
        else:
            statistics = self.running_mean, self.running_var
            result = batch_norm(
                x, *statistics, self.weight, self.bias, training=self.running_mean is None, eps=self.eps
            )
        for module in (self.drop, self.act):
            result = result if module is None else module(result)
        return result

    @torch.no_grad()
    def _update(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Add mean and variance of `count` values to the running statistics, as nn.BatchNorm2d does."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        momentum = self.momentum if self.momentum is not None else 1 / self.num_batches_tracked.float()
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance * (count / (count - 1)), momentum)


def synchronize_batch_norms(network: nn.Module, size: int) -> nn.Module:
    """Return the network with batch norms that use the batches of all `size` processes.

    Raises UsageError for subclasses of batch norm, whose forward pass may do more, other than timm's BatchNormAct2d.
    """
    if size == 1:
        return network
    norms = [module for module in network.modules() if isinstance(module, BATCH_NORMS)]
    unknown = {type(norm).__name__ for norm in norms if not _is_known(type(norm))}
    if unknown:
        raise UsageError(
            f"network.name: the batch norms of this network ({', '.join(sorted(unknown))}) cannot be synchronized "
            "between processes; train in one process, without torchrun"
        )
    synchronized: dict[nn.Module, nn.Module] = {norm: SynchronizedBatchNorm(norm, size) for norm in norms}
    for name, module in list(network.named_modules(remove_duplicate=False)):  # a norm may have several names
        if name and module in synchronized:
            network.set_submodule(name, synchronized[module])
    return synchronized.get(network, network)


def _is_known(norm: type) -> bool:
    return norm in BATCH_NORMS or (norm.__module__.startswith("timm.") and norm.__name__ == "BatchNormAct2d")
