"""Shared batch norm against one process that sees the joint batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from extra_utils.distributed_utils import Ranks
from extra_utils.model import SharedBatchNorm2d
from tests.helpers import run_distributed

SIZES = [5, 3, 7]  # images on each rank


def make_network(norm: Callable[[int], nn.Module] = nn.BatchNorm2d) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), norm(4), nn.ReLU(), nn.Conv2d(4, 6, 3), norm(6))


def joint_batch() -> Tensor:
    return torch.randn(sum(SIZES), 3, 10, 10, generator=torch.Generator().manual_seed(1)) * 3 + 2


def loss_of(output: Tensor) -> Tensor:
    """A rank's part of a mean over the joint batch, with another weight for each value."""
    weights = torch.linspace(0.5, 1.5, output[0].numel()).view_as(output[0])
    return (output.sin() * weights).mean(dim=(1, 2, 3)).sum() / sum(SIZES)


def step_on_ranks(ranks: Ranks) -> dict[str, Any]:
    """Two steps, so that the running statistics are used twice; everything that came out."""
    network = make_network(partial(SharedBatchNorm2d, ranks=ranks))
    own = torch.split(joint_batch(), SIZES)[ranks.rank].requires_grad_()
    for _ in range(2):
        output = network(own)
        torch.autograd.backward(loss_of(output))
    state = {k: v.tolist() for k, v in network.state_dict().items()}
    gradients = {k: p.grad.tolist() for k, p in network.named_parameters() if p.grad is not None}
    assert own.grad is not None
    shown = {"output": output.tolist(), "input_gradient": own.grad.tolist()}
    return {"state": state, "gradients": gradients, **shown}


def assert_close(ours: Any, expected: Tensor) -> None:
    tensor = torch.as_tensor(ours, dtype=torch.float32)
    assert (tensor - expected).abs().max() < 1e-5


def test_forward_backward_and_statistics_are_those_of_the_joint_batch(tmp_path: Path) -> None:
    results = run_distributed(step_on_ranks, 3, tmp_path)
    network, images = make_network(), joint_batch().requires_grad_()
    for _ in range(2):
        output = network(images)
        torch.autograd.backward(loss_of(output))
    assert_close([image for r in results for image in r["output"]], output)
    assert images.grad is not None
    assert_close([image for r in results for image in r["input_gradient"]], images.grad)
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        summed = sum(torch.tensor(r["gradients"][name]) for r in results)
        assert_close(summed, parameter.grad)
    for name, value in network.state_dict().items():
        for result in results:
            assert_close(result["state"][name], value.float())


def test_in_evaluation_mode_it_is_plain_batch_norm() -> None:
    plain = make_network().eval()
    marks: Any = None
    shared = make_network(partial(SharedBatchNorm2d, ranks=Ranks(0, 1, marks))).eval()
    images = joint_batch()
    assert torch.equal(plain(images), shared(images))
    assert list(plain.state_dict()) == list(shared.state_dict())
