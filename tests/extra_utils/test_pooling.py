"""Pooling while a model is tested, against torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from extra_utils.model import conv_max_pool2d


@pytest.mark.parametrize("shape", [(5, 6, 28, 28), (2, 3, 7, 9), (1, 1, 2, 3)])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_of_what_a_convolution_hands_on_it_is_torchs_pooling_to_the_bit(
    shape: tuple[int, ...], layout: torch.memory_format
) -> None:
    x = torch.randn(shape).to(memory_format=layout)
    x[0, 0, 0, 0] = float("nan")
    conv = nn.Conv2d(shape[1], shape[1], 1)
    nn.init.dirac_(conv.weight)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    with torch.no_grad():
        expected = F.max_pool2d(conv(x), 2)
        assert expected.isnan().any()
        assert torch.equal(conv_max_pool2d(conv, x).nan_to_num(9), expected.nan_to_num(9))
    assert conv_max_pool2d(conv, x).requires_grad


@pytest.mark.parametrize(("channels", "side"), [(3, 32), (1, 28), (3, 33), (6, 14)])
def test_a_pooled_convolution_is_torchs(channels: int, side: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(channels, 6, 5).to(memory_format=torch.channels_last)
    x = torch.randn(7, channels, side, side).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        found = conv_max_pool2d(conv, x)
    expected = F.max_pool2d(conv(x), 2)
    assert found.shape == expected.shape
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(conv_max_pool2d(conv, x), expected)
