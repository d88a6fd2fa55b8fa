"""The files that hold a model."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from extra_utils.basics.errors import ConfigError
from extra_utils.model import Net
from extra_utils.run import checkpoint
from extra_utils.run.checkpoint import NAME, checkpoint_beside, load_checkpoint, save_model

FLIP = {"name": "label_flip", "clients": [1]}
MINE = {"config": {"seed": 3, "attack": FLIP}}


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
    with checkpoint_beside(tmp_path, first, 1, MINE, {"history": np.ones(2)}):
        assert load_checkpoint(tmp_path / NAME, MINE) is None
    with checkpoint_beside(tmp_path, second, 2, MINE, {}):
        old = load_checkpoint(tmp_path / NAME, MINE)
        assert old is not None
        assert old.round_index == 1
        assert old.rule["history"].tolist() == [1.0, 1.0]
        assert torch.equal(old.model["fc3.bias"], first.fc3.bias)
    new = load_checkpoint(tmp_path / NAME, MINE)
    assert new is not None
    assert new.round_index == 2
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_a_checkpoint_whose_rows_could_not_be_written_does_not_stand(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="disk full"), checkpoint_beside(tmp_path, Net(), 1, {}, {}):
        raise OSError("disk full")
    assert list(tmp_path.iterdir()) == []


class Payload:
    """Would run when it is read."""

    has_run = False

    def __reduce__(self) -> tuple[object, tuple[()]]:
        return run_payload, ()


def run_payload() -> None:
    Payload.has_run = True


def whole_checkpoint(folder: Path, model: nn.Module) -> bytes:
    """The bytes of a checkpoint."""
    with checkpoint_beside(folder, model, 1, MINE, {"history": np.ones(2)}):
        pass
    return (folder / NAME).read_bytes()


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "zeros", "other", "format"])
def test_a_damaged_checkpoint_is_refused(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / NAME
    content = bytearray(whole_checkpoint(tmp_path, Net()))
    if damage == "flip":
        middle = len(content) // 2  # among the weights
        content[middle] ^= 1
    written = {"empty": b"", "zeros": bytes(4), "cut": bytes(content[:-1000])}
    path.write_bytes(written.get(damage, bytes(content)))
    if damage == "other":
        torch.save({"a": torch.zeros(1)}, path)
    if damage == "format":
        monkeypatch.setattr(checkpoint, "FORMAT", 99)
        whole_checkpoint(tmp_path, Net())
        monkeypatch.undo()
    with pytest.raises(ConfigError, match="is no whole checkpoint") as caught:
        load_checkpoint(path, MINE)
    assert "\n" not in str(caught.value)


def test_every_changed_byte_is_seen(tmp_path: Path) -> None:
    """In the weights, and in the archive's own headers, which zipfile's check passes over."""
    path = tmp_path / NAME
    content = whole_checkpoint(tmp_path, nn.Linear(3, 2))
    draws = random.Random(0)
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= draws.randint(1, 255)
        path.write_bytes(changed)
        with pytest.raises(ConfigError, match="is no whole checkpoint"):
            load_checkpoint(path, MINE)


@pytest.mark.parametrize(
    ("config", "change"),
    [
        ({"seed": 4}, "config.seed: was 3, is 4"),
        ({"attack": None}, 'config.attack: was {"name": "label_flip", "clients": [1]}, is null'),
        (
            {"attack": {"name": "label_flip", "clients": [2]}},
            r"config.attack.clients: was [1], is [2]",
        ),
        ({"lr": 0.1}, "config.lr: was null, is 0.1"),
    ],
)
def test_another_runs_checkpoint_is_refused(
    config: dict[str, Any], change: str, tmp_path: Path
) -> None:
    whole_checkpoint(tmp_path, Net())
    with pytest.raises(ConfigError) as caught:
        load_checkpoint(tmp_path / NAME, {"config": MINE["config"] | config})
    assert str(caught.value) == f"{tmp_path / NAME}: is of another run: {change}"


def test_a_key_that_is_gone_is_a_change_too(tmp_path: Path) -> None:
    whole_checkpoint(tmp_path, Net())
    with pytest.raises(ConfigError, match=r"config\.attack: was \{.*\}, is null$"):
        load_checkpoint(tmp_path / NAME, {"config": {"seed": 3}})


def test_a_checkpoint_with_a_payload_does_not_run(tmp_path: Path) -> None:
    """Whoever hands a run's folder on can make its checksum fit."""
    archive = checkpoint.to_bytes({"round": 1, "identity": MINE, "model": {}, "rule": Payload()})
    (tmp_path / NAME).write_bytes(archive + checkpoint.checksum(archive))
    with pytest.raises(ConfigError, match="is no checkpoint: it holds more than values"):
        load_checkpoint(tmp_path / NAME, MINE)
    assert not Payload.has_run


def test_torch_reads_a_checkpoint_too(tmp_path: Path) -> None:
    model = Net()
    whole_checkpoint(tmp_path, model)
    found = torch.load(tmp_path / NAME, weights_only=True)
    assert torch.equal(found["model"]["fc3.bias"], model.fc3.bias)
    assert found["identity"] == MINE
