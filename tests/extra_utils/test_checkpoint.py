"""The files that hold a model."""

from __future__ import annotations

from pathlib import Path

import torch

from extra_utils.checkpoint import save_checkpoint, save_model
from extra_utils.model import Net


def test_equal_models_give_equal_bytes_whatever_their_layout(tmp_path: Path) -> None:
    model = Net()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    save_model(tmp_path / "a", model)
    save_model(tmp_path / "b", model.to(memory_format=torch.channels_last))
    assert (tmp_path / "a" / "model.pth").read_bytes() == (
        tmp_path / "b" / "model.pth"
    ).read_bytes()


def test_a_saved_model_loads_into_a_new_one(tmp_path: Path) -> None:
    model, other = Net(), Net()
    save_model(tmp_path, model)
    other.load_state_dict(torch.load(tmp_path / "model.pth", weights_only=True))
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True)
    )


def test_a_checkpoint_says_its_round_and_config(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, Net(), 7, {"seed": 3})
    content = torch.load(tmp_path / "checkpoint.pth", weights_only=True)
    assert (content["round"], content["config"]) == (7, {"seed": 3})
