"""The files that hold a model: model.pth for the user, checkpoint.pth to go on from."""

import io
import pickle
import zlib
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from extra_utils.aggregation.messages import State
from extra_utils.basics.errors import ConfigError, show
from extra_utils.basics.files import write_whole, written_beside
from extra_utils.distributed_utils import Ranks

FORMAT = 4
NAME = "checkpoint.pth"
Identity = dict[str, Any]  # what a run must go on with; objects may be nested


class Checkpoint(NamedTuple):
    """The state after a round."""

    round_index: int
    model: dict[str, Tensor]
    rule: State  # what the aggregation rule remembers


def save_model(run_dir: Path, model: nn.Module) -> None:
    """The state dict alone; the same weights always give the same bytes."""
    write_whole(run_dir / "model.pth", to_bytes(state_of(model)))


def checkpoint_beside(
    run_dir: Path, model: nn.Module, round_index: int, identity: Identity, rule: State
) -> AbstractContextManager[None]:
    """What it takes to go on after this round; it takes its place when the block is done."""
    memory = {name: torch.from_numpy(value) for name, value in rule.items()}
    state = {"round": round_index, "identity": identity, "model": state_of(model), "rule": memory}
    archive = to_bytes(state)
    return written_beside(run_dir / NAME, archive, checksum(archive))


def load_checkpoint(path: Path, identity: Identity) -> Checkpoint | None:
    """None where there is none. Raises ConfigError where it is not whole, or of another run."""
    if not path.exists():
        return None
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: is no whole checkpoint: {error.strerror}") from None
    if content[-4:] != checksum(memoryview(content)[:-4]):
        raise ConfigError(f"{path}: is no whole checkpoint: its checksum does not fit")
    try:
        found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ConfigError(f"{path}: is no checkpoint: it holds more than values") from None
    if change := first_change(found["identity"], identity):
        raise ConfigError(f"{path}: is of another run: {change}")
    memory = {name: value.numpy() for name, value in found["rule"].items()}
    return Checkpoint(found["round"], found["model"], memory)


def restore(
    ranks: Ranks, model: nn.Module, run_dir: Path, identity: Identity
) -> tuple[int | None, State]:
    """Loads rank 0's checkpoint; its round or None, and all memory. All ranks call this."""
    found = ranks.broadcast(load_checkpoint(run_dir / NAME, identity) if ranks.is_main else None)
    if found is None:
        return None, {}
    model.load_state_dict(found.model)
    return found.round_index, found.rule


def checksum(archive: bytes | memoryview) -> bytes:
    """It begins with the format's number, so another format's does not fit."""
    # zipfile's own check passes over an entry's attributes: of one that a wrong bit marks as a
    # folder, torch reads nothing, and takes what lies in memory for the weights
    return zlib.crc32(archive, FORMAT).to_bytes(4, "little")


def checksum_of(model: nn.Module) -> int:
    """Equal models have equal ones."""
    return zlib.crc32(to_bytes(state_of(model)))


def first_change(old: Any, new: Any, key: str = "") -> str | None:
    """The first key whose value is another, with both: ``lr: was 0.1, is 0.2``."""
    if isinstance(old, dict) and isinstance(new, dict):
        inner = f"{key}." if key else ""
        changes = (first_change(old.get(k), new.get(k), inner + k) for k in old | new)
        return next(filter(None, changes), None)
    is_new_switch = old is None and new is False  # which the version before did not have
    return None if old == new or is_new_switch else f"{key}: was {show(old)}, is {show(new)}"


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """The state with every tensor in the usual layout, whatever the model trains in."""
    return {name: value.contiguous() for name, value in model.state_dict().items()}


def to_bytes(content: Any) -> bytes:
    """torch.save in memory: a path would put the file's name into the archive."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()
