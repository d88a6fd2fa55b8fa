"""The files that hold a model: model.pth for the user, checkpoint.pth to go on from."""

from __future__ import annotations

import hashlib
import io
import pickle
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from extra_utils.aggregation.updates import State
from extra_utils.basics.errors import ConfigError
from extra_utils.basics.files import write_whole, written_beside
from extra_utils.distributed_utils import Ranks

FORMAT = 2
NAME = "checkpoint.pth"


@dataclass(frozen=True)
class Checkpoint:
    """The state after a round."""

    round_index: int
    model: dict[str, Tensor]
    rule: State  # what the aggregation rule remembers


def save_model(run_dir: Path, model: nn.Module) -> None:
    """The state dict alone; the same weights always give the same bytes."""
    write_whole(run_dir / "model.pth", to_bytes(state_of(model)))


def checkpoint_beside(
    run_dir: Path, model: nn.Module, round_index: int, config: dict[str, Any], rule: State
) -> AbstractContextManager[None]:
    """What it takes to go on after this round; it takes its place when the block is done."""
    state = state_of(model)
    memory = {name: torch.from_numpy(value) for name, value in rule.items()}
    content = {
        "format": FORMAT,
        "round": round_index,
        "config": config,
        "model": state,
        "rule": memory,
        "checksum": checksum(state) + checksum(memory),
    }
    return written_beside(run_dir / NAME, to_bytes(content))


def load_checkpoint(path: Path) -> Checkpoint | None:
    """The checkpoint; None where there is none yet. Raises ConfigError where it is not whole."""
    if not path.exists():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        memory = {name: value.numpy() for name, value in content["rule"].items()}
        found = Checkpoint(content["round"], content["model"], memory)
        expected = checksum(content["model"]) + checksum(content["rule"])
        is_whole = content["format"] == FORMAT and content["checksum"] == expected
    except (OSError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError,
            TypeError, AttributeError) as error:  # fmt: skip
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:100]
        raise ConfigError(f"{path}: is no whole checkpoint: {reason}") from None
    if not is_whole:
        raise ConfigError(f"{path}: is no whole checkpoint: its checksum does not fit")
    return found


def restore(ranks: Ranks, model: nn.Module, run_dir: Path) -> tuple[int | None, State]:
    """Loads rank 0's checkpoint into every rank's model; its round, and what the rule remembers.

    The round is None where there is no checkpoint. All ranks call this.
    """
    checkpoint = ranks.broadcast(load_checkpoint(run_dir / NAME) if ranks.is_main else None)
    if checkpoint is None:
        return None, {}
    model.load_state_dict(checkpoint.model)
    return checkpoint.round_index, checkpoint.rule


def checksum(state: dict[str, Tensor]) -> str:
    """Of every value's name, type, shape and bytes."""
    digest = hashlib.blake2b(digest_size=16)
    for name, value in state.items():
        digest.update(repr((name, str(value.dtype), tuple(value.shape))).encode())
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """The state with every tensor in the usual layout, whatever the model trains in."""
    return {name: value.contiguous() for name, value in model.state_dict().items()}


def to_bytes(content: Any) -> bytes:
    """torch.save in memory: a path would put the file's name into the archive."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()
