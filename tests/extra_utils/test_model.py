"""The models."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F

from extra_utils.config import Config
from extra_utils.model import Net, build_model, last_linear, num_parameters

CONFIG = Config(type="synthetic")


def test_net_is_the_articles() -> None:
    model = Net()
    assert num_parameters(model) == 62_006
    assert last_linear(model) is model.fc3
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_pooling_before_the_relu_gives_the_same_numbers() -> None:
    images = torch.randn(4, 6, 28, 28)
    assert torch.equal(F.relu(F.max_pool2d(images, 2)), F.max_pool2d(F.relu(images), 2))


def test_a_models_weights_are_the_seeds_and_leave_the_global_stream_alone() -> None:
    state = torch.get_rng_state()
    first, again, other = (build_model(replace(CONFIG, seed=s), 10) for s in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    pairs = zip(first.parameters(), again.parameters(), other.parameters(), strict=True)
    for one, same, different in pairs:
        assert torch.equal(one, same)
        assert not torch.equal(one, different)
