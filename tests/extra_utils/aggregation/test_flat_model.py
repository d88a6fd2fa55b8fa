"""A model as a row of numbers: its order, its blocks, and the way there and back."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from extra_utils.aggregation.flat_model import (
    BLOCK,
    FIXED_POINT,
    PIECE,
    FlatModel,
    WeightDiff,
    flat,
    to_fixed_point,
)
from extra_utils.model import build_model, num_parameters
from tests.helpers import make_config, make_dataset


def dense(diff: WeightDiff) -> Tensor:
    """All values [P] of a difference at once."""
    return torch.cat([piece.clone() for piece in diff.pieces()])


class Wide(nn.Module):
    """A tensor of several pieces, one whose pixels' channels lie side by side, and statistics."""

    def __init__(self, statistics: list[float]) -> None:
        super().__init__()
        self.register_buffer("statistics", torch.tensor(statistics))
        self.conv = nn.Conv2d(3, 2, (4, 5), bias=False).to(memory_format=torch.channels_last)
        self.last = nn.Linear(PIECE, 3, bias=False)


def test_a_diff_is_local_minus_global_in_the_order_of_memory() -> None:
    new, old = Wide([2.0]), Wide([3.0])
    diff = WeightDiff(new, old)
    first = new.conv.weight.double() - old.conv.weight.double()
    second = new.last.weight.double() - old.last.weight.double()
    expected = [first.permute(0, 2, 3, 1).flatten(), second.flatten(), torch.tensor([-1.0])]
    assert torch.equal(dense(diff), torch.cat(expected))
    assert len(diff.local) == len(dense(diff))
    assert max(len(piece) for piece in diff.pieces()) == PIECE
    with pytest.raises(AssertionError, match="gaps"):
        flat(new.last.weight[:, ::2])


def test_an_attacker_edits_what_learns_and_leaves_running_statistics_possible() -> None:
    new, old = Wide([0.5, 0.1]), Wide([1.0, 1.0])
    for model, value in ((new, 1.0), (old, 0.0)):
        for parameter in model.parameters():
            parameter.data.fill_(value)
    diff = WeightDiff(new, old)
    diff.edit(lambda piece: -10 * piece)
    assert {value for row in diff.local.scored for value in row.tolist()} == {-10.0}
    assert diff.local.statistics[0].tolist() == pytest.approx([0.5, 0.1])
    assert dense(diff)[:2].tolist() == [-10.0, -10.0]


def test_blocks_hold_scored_values_and_statistics_apart_and_give_them_back() -> None:
    values = FlatModel(Wide([7.0, 8.0]))
    blocks = values.to_blocks()
    row = torch.cat(list(values.pieces()))
    assert (values.num_scored, values.num_statistics) == (3 * PIECE + 120, 2)
    assert blocks.shape == (values.num_blocks, BLOCK) == (3 * PIECE // BLOCK + 2, BLOCK)
    assert torch.equal(blocks.flatten()[: values.num_scored], row[:-2])
    assert blocks[values.scored_blocks].tolist() == [7.0, 8.0] + [0.0] * (BLOCK - 2)
    assert torch.equal(values.from_blocks(blocks), row)


def test_the_last_layer_stands_last_with_a_bias_of_0_where_it_has_none() -> None:
    with_bias, without = nn.Linear(4, 3), nn.Linear(4, 3, bias=False)
    for layer, bias in ((with_bias, with_bias.bias), (without, torch.zeros(3))):
        values = FlatModel(nn.Sequential(nn.Linear(2, 4), layer))
        (rows,) = values.as_layer(torch.cat(values.scored)[None, -values.layer_size :])
        assert torch.equal(rows, torch.cat([layer.weight, bias[:, None]], dim=1))


def test_counters_are_read_and_written_back() -> None:
    model = build_model(make_config(type="synthetic", model_name="resnet18"), make_dataset())
    values = FlatModel(model)
    assert len(values.counters) == 20
    values.set_counters(torch.arange(20))
    assert FlatModel(model).counters.tolist() == list(range(20))
    assert len(values) > num_parameters(model)


def test_fixed_point_is_exact_to_its_unit() -> None:
    diff = torch.tensor([1.0, -2.5, 2.0**-44, 1e-20], dtype=torch.float64)
    assert to_fixed_point(diff, 1.0).tolist() == [2**44, -5 * 2**43, 1, 0]
    thirds = to_fixed_point(torch.tensor([0.1], dtype=torch.float64), 1 / 3).item()
    assert abs(thirds / FIXED_POINT - 0.1 / 3) <= 0.5 / FIXED_POINT
