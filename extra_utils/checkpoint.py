"""The files that hold a model: model.pth for the user, checkpoint.pth to go on from."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from extra_utils.files import write_whole

FORMAT = 1


def save_model(run_dir: Path, model: nn.Module) -> None:
    """The state dict alone; the same weights always give the same bytes."""
    write_whole(run_dir / "model.pth", to_bytes(state_of(model)))


def save_checkpoint(
    run_dir: Path, model: nn.Module, round_index: int, config: dict[str, Any]
) -> None:
    """What it takes to go on after this round; loads with ``weights_only=True``."""
    content = {"format": FORMAT, "round": round_index, "config": config, "model": state_of(model)}
    write_whole(run_dir / "checkpoint.pth", to_bytes(content), durable=True)


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """The state with every tensor in the usual layout, whatever the model trains in."""
    return {name: value.contiguous() for name, value in model.state_dict().items()}


def to_bytes(content: Any) -> bytes:
    """torch.save in memory: a path would put the file's name into the archive."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()
