"""The config's keys for people: ``--help``, and the README's tables."""

from __future__ import annotations

import json
import re
import textwrap
import typing
from dataclasses import MISSING, Field, fields
from typing import Any

from extra_utils.config.keys import AttackConfig, Config, DefenseConfig, field_texts
from extra_utils.config.reader import Table, parameters_of
from extra_utils.config.values import describe

USAGE = """\
usage: python main.py --config FILE [--run_dir DIR] [--KEY=VALUE ...]

Federated learning on one machine. A key is set in the JSON file or on the command line, as
--key=value or --key value, with a dot into attack and defense: --attack.target=7. Command line
beats file, file beats default. A value is JSON, else a string.

  --config FILE   the JSON file of the run, for example configs/cifar.json
  --run_dir DIR   the run's folder, new or empty (default: <output_dir>/<name>-<date>-<time>)
  --resume DIR    instead of both: go on with the run in this folder after its last checkpoint;
                  global_epochs may grow, world_size, timeout_s and checkpoint_every may change

"""
Row = tuple[str, str, str, str]  # key, type, default, meaning


def help_text(attacks: Table, defenses: Table) -> str:
    """Every key with its type, its default and its meaning."""
    sections = [("keys", key_rows()), ("attack.* of every attack", nested_rows(AttackConfig))]
    sections += [(f"attack.* of {n}: {summary(f)}", parameter_rows(f)) for n, f in attacks.items()]
    sections += [
        (f"defense.* of {n}: {summary(f)}", parameter_rows(f)) for n, f in defenses.items()
    ]
    return USAGE + "\n".join(_section(title, rows) for title, rows in sections)


def key_rows() -> list[Row]:
    """The keys of a config, in order."""
    hints = typing.get_type_hints(Config, include_extras=True)
    nested = {"attack": "an object or null", "defense": "an object"}
    texts = field_texts(Config)
    return [
        (f.name, nested.get(f.name) or describe(hints[f.name]), _default(f), texts[f.name])
        for f in fields(Config)
    ]


def nested_rows(kind: type[AttackConfig] | type[DefenseConfig]) -> list[Row]:
    """The keys that every attack, or every rule, has."""
    hints = typing.get_type_hints(kind, include_extras=True)
    texts = field_texts(kind)
    own = [f for f in fields(kind) if f.name in texts]
    return [(f.name, describe(hints[f.name]), _default(f), texts[f.name]) for f in own]


def parameter_rows(function: Any) -> list[Row]:
    """The keys of one attack or rule, from its signature and the lines of its docstring."""
    texts = dict(re.findall(r"^ *`(\w+)`: (.*)$", function.__doc__ or "", re.MULTILINE))
    rows = []
    for name, (hint, default) in parameters_of(function).items():
        shown = "required" if default is MISSING else json.dumps(default)
        rows.append((name, describe(hint), shown, texts[name]))
    return rows


def summary(function: Any) -> str:
    """The first line of the docstring."""
    return (function.__doc__ or "").strip().splitlines()[0]


def markdown(rows: list[Row]) -> str:
    """The rows as the README's table."""
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, kind, default, text in rows:
        lines.append(f"| `{name}` | {kind} | `{default}` | {text} |".replace("||", "\\|\\|"))
    return "\n".join(lines)


def _default(field: Field[Any]) -> str:
    if field.default_factory is not MISSING:
        return json.dumps(field.default_factory())
    if isinstance(field.default, DefenseConfig):
        return json.dumps({"name": field.default.name})
    return "required" if field.default is MISSING else json.dumps(field.default)


def _section(title: str, rows: list[Row]) -> str:
    lines = [title]
    for name, kind, default, text in rows:
        lines.append(f"  --{name}  ({kind}; default: {default})")
        lines += textwrap.wrap(text, 90, initial_indent="      ", subsequent_indent="      ")
    return "\n".join(lines) + "\n"
