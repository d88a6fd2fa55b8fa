"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

PARTIAL = ".partial"  # ends the name of a file that is being written


def write_whole(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Writes beside the place and renames; with ``durable`` the disk has it before the rename."""
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        with partial.open("wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def remove_partial_files(folder: Path) -> None:
    """What a killed process left unfinished in the folder."""
    for partial in folder.glob(f".*{PARTIAL}"):
        partial.unlink(missing_ok=True)
