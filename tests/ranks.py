"""Runs a function on real ranks: python -m tests.ranks MODULE:FUNCTION WORLD_SIZE FOLDER"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

from extra_utils.distributed_utils import Ranks
from extra_utils.processes.supervisor import start_ranks


def call(ranks: Ranks, name: str, folder: Path) -> None:
    """One rank's call; what it returns goes to the folder as JSON."""
    module, function = name.split(":")
    result = getattr(importlib.import_module(module), function)(ranks)
    (folder / f"rank{ranks.rank}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    _, function_name, world_size, folder_name = sys.argv
    start_ranks(
        call,
        (function_name, Path(folder_name)),
        world_size=int(world_size),
        threads=1,
        timeout_s=30,
    )
