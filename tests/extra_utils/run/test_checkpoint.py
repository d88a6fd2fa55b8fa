"""The files that hold a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from extra_utils.basics.errors import ConfigError
from extra_utils.model import Net
from extra_utils.run.checkpoint import NAME, checkpoint_beside, load_checkpoint, save_model


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


def test_a_checkpoint_takes_its_place_when_the_block_is_done(tmp_path: Path) -> None:
    first, second = Net(), Net()
    with checkpoint_beside(tmp_path, first, 1, {"seed": 3}, {"history": np.ones(2)}):
        assert load_checkpoint(tmp_path / NAME) is None
    with checkpoint_beside(tmp_path, second, 2, {"seed": 3}, {}):
        old = load_checkpoint(tmp_path / NAME)
        assert old is not None
        assert old.round_index == 1
        assert old.rule["history"].tolist() == [1.0, 1.0]
        assert torch.equal(old.model["fc3.bias"], first.fc3.bias)
    new = load_checkpoint(tmp_path / NAME)
    assert new is not None
    assert new.round_index == 2
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_a_checkpoint_whose_rows_could_not_be_written_does_not_stand(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="disk full"), checkpoint_beside(tmp_path, Net(), 1, {}, {}):
        raise OSError("disk full")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "other", "format"])
def test_a_damaged_checkpoint_is_refused(damage: str, tmp_path: Path) -> None:
    path = tmp_path / NAME
    with checkpoint_beside(tmp_path, Net(), 1, {}, {}):
        pass
    content = bytearray(path.read_bytes())
    if damage == "flip":
        middle = len(content) // 2  # among the weights
        content[middle] ^= 1
    path.write_bytes(
        b"" if damage == "empty" else bytes(content[: -1000 if damage == "cut" else None])
    )
    if damage == "other":
        torch.save({"a": torch.zeros(1)}, path)
    if damage == "format":
        torch.save({**torch.load(path, weights_only=True), "format": 99}, path)
    with pytest.raises(ConfigError, match="is no whole checkpoint") as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)
