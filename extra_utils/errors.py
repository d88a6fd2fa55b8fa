"""How a run can end early; each message is complete in itself."""

from __future__ import annotations


class ConfigError(ValueError):
    """The user's input is wrong: one line that says where, what, got, and what would be right."""


class RunFailed(Exception):
    """The run ended early: which rank, client and round, and why."""


class ClientFailed(Exception):
    """A client's training gave what cannot be used."""


def describe_os_error(error: OSError) -> str:
    """The file, and what the system says of it: ``runs/a/model.pth: No space left on device``."""
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"
