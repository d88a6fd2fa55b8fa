"""How a run can end early; each message is complete in itself."""

from __future__ import annotations


class ConfigError(ValueError):
    """The user's input is wrong: one line that says where, what, got, and what would be right."""


class RunFailed(Exception):
    """The run ended early: which rank, client and round, and why."""


class ClientFailed(Exception):
    """A client's training gave what cannot be used."""
