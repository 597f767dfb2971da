"""BatchNorm over the batch of all processes, on any device: ``nn.SyncBatchNorm`` exists for GPUs alone."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class _SumOfAll(torch.autograd.Function):
    """The sum of a tensor over all processes.  Every process's loss depends on it, so gradients are summed too."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return _SumOfAll.forward(ctx, gradient)


class GlobalBatchNorm(_BatchNorm):
    """BatchNorm of (B, C, …) whose batch is that of all processes, each with its share; same states and names.

    In eval mode, as in ``nn.BatchNorm2d``, the running statistics are used and no process waits for another.
    """

    def _check_input_dim(self, x: Tensor) -> None:
        if x.dim() < 2:
            raise ValueError(f"expected input of shape (B, C, …), got {tuple(x.shape)}")

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        self._check_input_dim(x)
        own = x.float()
        dims = [d for d in range(x.dim()) if d != 1]
        shape = [-1 if d == 1 else 1 for d in range(x.dim())]
        count = torch.full((1,), x.numel() / x.shape[1], device=x.device)
        sums = _SumOfAll.apply(torch.cat([own.sum(dims), count]))
        mean, total = sums[:-1] / sums[-1].detach(), sums[-1].detach()
        centred = own - mean.view(shape)  # two passes: E[x²] − E[x]² loses the digits of small variances
        variance = _SumOfAll.apply(centred.square().sum(dims)) / total
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * total / (total - 1).clamp_min(1), self.momentum)
        scale = torch.rsqrt(variance + self.eps) * self.weight
        return torch.addcmul(self.bias.view(shape), centred, scale.view(shape)).to(x.dtype)


def synchronise_batch_norms(network: nn.Module) -> None:
    """Make every BatchNorm of ``network``, in place, one over all processes; parameters and their names stay.

    Networks on a GPU get ``nn.SyncBatchNorm``, others :class:`GlobalBatchNorm`.
    """
    norms = [module for module in network.modules() if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d))]
    if any(norm.weight.is_cuda for norm in norms):
        nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return
    for norm in norms:
        norm.__class__ = GlobalBatchNorm
