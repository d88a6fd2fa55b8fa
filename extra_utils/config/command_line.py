"""The command line, split up: ``--key=value``, and what each value is."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from extra_utils.basics.errors import ConfigError, show
from extra_utils.config.keys import HINTS
from extra_utils.config.values import check_known, parse_json

COMMAND_LINE = "command line"
DEFAULT_CONFIG = Path(__file__).parents[2] / "configs" / "cifar.json"  # the main job
OF_SWEEPS = ("jobs", "baseline", "yes")
COMMAND_LINE_ONLY = ("config", "run_dir", "resume", *OF_SWEEPS)
SWEEP = "sweep"  # the key of a config file that holds lists
NUMBER = r"[+-]?(\d+\.|\d*\.\d+)([eE][+-]?\d+)?"  # which JSON knows not to the full
PYTHONS = {"True": "true", "False": "false", "None": "null"}


@dataclass(frozen=True)
class Arguments:
    """The command line, split up; values are still text."""

    config: str | None = None
    run_dir: str | None = None
    resume: str | None = None
    jobs: str | None = None
    baseline: str | None = None
    yes: str | None = None
    overrides: dict[str, str] = field(default_factory=dict)

    @property
    def notice(self) -> str:
        """Which config is taken where none was given; "" where one was."""
        is_given = self.config is not None or self.resume is not None
        return "" if is_given else f"config: {DEFAULT_CONFIG}, as none was given"


def parse_arguments(argv: Iterable[str]) -> Arguments:
    """Both ``--key=value`` and ``--key value``; the last of several wins.

    A switch alone is on: ``--only_0``.
    """
    found: dict[str, str] = {}
    rest = list(argv)
    while rest:
        option = rest.pop(0)
        key, equals, value = option.removeprefix("--").partition("=")
        if not option.startswith("--") or option == "--":
            got = f"got {show(option)}, must be --key=value; see --help"
            raise ConfigError(f"{COMMAND_LINE}: {got}")
        is_alone = not equals and (not rest or rest[0].startswith("--"))
        if is_alone and HINTS.get(key) is not bool and key != "yes":
            if "." not in key:
                check_known(COMMAND_LINE, key, [*HINTS, *COMMAND_LINE_ONLY])
            raise ConfigError(f"{COMMAND_LINE}: {key}: has no value, must be --{key}=value")
        if not equals:
            value = "true" if is_alone else rest.pop(0)
        found[key] = value
    special = {key: found.pop(key) for key in COMMAND_LINE_ONLY if key in found}
    return Arguments(**special, overrides=found)


def parse_value(key: str, text: str) -> Any:
    """JSON, or a number, True, False or None as people type it, else a string.

    A key that takes free text keeps it as typed: ``--name=7``.
    """
    in_json = PYTHONS.get(text, text)
    if HINTS.get(key) in (str, str | None) and in_json != "null":
        return text
    try:
        if re.fullmatch(r"[+-]?\d+", text):
            return int(text)
        return float(text) if re.fullmatch(NUMBER, text) else parse_json(in_json)
    except (ValueError, RecursionError):
        return text
