"""How a run can end early; each message is complete in itself."""

from __future__ import annotations

import sys


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


ENDINGS = (ConfigError, RunFailed, ClientFailed, OSError)  # of a command, with a message to say


def report(error: Exception, above: str = "") -> int:
    """Says why a command ends (``above`` it what keeps off progress bars); its exit status."""
    text = describe_os_error(error) if isinstance(error, OSError) else str(error)
    print(f"{above}error: {text}", file=sys.stderr)
    return 2 if isinstance(error, ConfigError) else 1
