"""Batch norm whose statistics are those of all ranks' batches together, on CPU over gloo.

torch's own SyncBatchNorm refuses CPU tensors.
"""

from typing import Any

import torch
from torch import Tensor, nn

from extra_utils.distributed_utils import Ranks


class SumOverRanks(torch.autograd.Function):
    """Values [K] summed over all ranks, in rank order. All ranks call it, forward and backward.

    Every rank's loss depends on every rank's values, so the gradients are summed the same way.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        return ranks.sum_in_order(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.ranks.sum_in_order(gradient), None


class SharedBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d over the joint batch of all ranks; in evaluation mode the usual one."""

    ranks: Ranks

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked.add_(1)
        count, mean, variance = self._joint_statistics(input)
        with torch.no_grad():
            unbiased = variance * count / (count - 1).clamp(min=1)
            for running, new in ((self.running_mean, mean), (self.running_var, unbiased)):
                assert running is not None
                running.lerp_(new.to(running.dtype), self.momentum)
        scale = torch.rsqrt(variance + self.eps)
        normalized = (input - _by_channel(mean)) * _by_channel(scale)
        return normalized * _by_channel(self.weight) + _by_channel(self.bias)

    def _joint_statistics(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Values per channel, mean [C] and biased variance [C] of all ranks' [B, C, H, W]."""
        own = torch.full((1,), images.numel() / images.shape[1])
        summed = SumOverRanks.apply(torch.cat([images.sum(dim=(0, 2, 3)), own]), self.ranks)
        count = summed[-1].detach()
        mean = summed[:-1] / count
        squares = (images - _by_channel(mean)).square().sum(dim=(0, 2, 3))
        return count, mean, SumOverRanks.apply(squares, self.ranks) / count


def _by_channel(values: Tensor) -> Tensor:
    return values.view(1, -1, 1, 1)


def with_shared_statistics(model: nn.Module, ranks: Ranks) -> nn.Module:
    """The model with every BatchNorm2d sharing its statistics; its state keeps its names."""
    for name, module in list(model.named_children()):
        if isinstance(module, nn.BatchNorm2d):
            shared = SharedBatchNorm2d(module.num_features, module.eps, module.momentum)
            shared.load_state_dict(module.state_dict())
            shared.ranks = ranks
            setattr(model, name, shared)
        else:
            with_shared_statistics(module, ranks)
    return model
