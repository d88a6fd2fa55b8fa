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
        own = torch.full((1,), input.numel() / self.num_features)
        sums = SumOverRanks.apply(torch.cat([input.sum(dim=(0, 2, 3)), own]), self.ranks)
        count = sums[-1].detach()  # values per channel, of all ranks
        mean = sums[:-1] / count  # [C]
        squares = (input - mean[:, None, None]).square().sum(dim=(0, 2, 3))
        variance = SumOverRanks.apply(squares, self.ranks) / count  # biased
        with torch.no_grad():
            unbiased = variance * count / (count - 1).clamp(min=1)
            for running, new in ((self.running_mean, mean), (self.running_var, unbiased)):
                assert running is not None
                running.lerp_(new.to(running.dtype), self.momentum)
        scale = torch.rsqrt(variance + self.eps)
        normalized = (input - mean[:, None, None]) * scale[:, None, None]
        return normalized * self.weight[:, None, None] + self.bias[:, None, None]


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
