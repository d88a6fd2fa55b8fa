"""Adam against torch's own."""

from __future__ import annotations

import copy

import torch

from extra_utils.model import Net
from extra_utils.training.optimizer import Adam


def test_adam_is_torchs_fused_adam_to_the_bit() -> None:
    ours = Net().to(memory_format=torch.channels_last)
    theirs = copy.deepcopy(ours)
    optimizer = Adam(ours.parameters(), lr=0.01)
    reference = torch.optim.Adam(theirs.parameters(), lr=0.01, fused=True)
    for step in range(5):
        images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(step))
        optimizer.lr = reference.param_groups[0]["lr"] = 0.01 / (step + 1)
        optimizer.zero_grad()
        reference.zero_grad()
        ours(images).square().sum().backward()
        theirs(images).square().sum().backward()
        optimizer.step()
        reference.step()
    pairs = zip(ours.parameters(), theirs.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_frozen_parameters_are_left_alone() -> None:
    model = Net()
    model.fc1.weight.requires_grad_(False)
    before = model.fc1.weight.clone()
    optimizer = Adam(model.parameters(), lr=0.1)
    model(torch.randn(2, 3, 32, 32)).sum().backward()
    optimizer.step()
    assert torch.equal(model.fc1.weight, before)
