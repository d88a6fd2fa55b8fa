"""The ranks that torchrun has started: this process is one of them, on one machine or several."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """This process among torchrun's."""

    rank: int
    local_rank: int  # on its machine
    world_size: int
    is_restart: bool  # after torchrun has ended a group in which a rank died


def torchrun_place() -> Place | None:
    """From torchrun's environment; None where main.py was started by itself."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    rank, local_rank, world_size = (
        int(os.environ[name]) for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE")
    )
    restarts = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    return Place(rank, local_rank, world_size, restarts > 0)
