"""The config's keys for people: ``--help``, and the tables of docs/keys.md."""

import inspect
import json
import re
import textwrap
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from extra_utils.config.keys import KINDS, GivenConfig, to_json
from extra_utils.config.reader import REQUIRED, Tables, parameters_of
from extra_utils.config.values import describe

Row = tuple[str, str, str, str]  # key, type, default, meaning


def help_text(tables: Tables) -> str:
    """Every key with its type, its default and its meaning."""
    sections = [("keys", rows_of(GivenConfig))]
    for key, functions in tables.items():
        if len(common := rows_of(KINDS[key])) > 1:  # more than the name
            sections.append((f"{key}.* of every {key}", common))
        for name, function in functions.items():
            sections.append((f"{key}.* of {name}: {summary(function)}", parameter_rows(function)))
    text = Path(__file__).with_name("usage.txt").read_text("utf-8")
    for title, rows in sections:
        text += f"\n{title}\n"
        for name, kind, default, meaning in rows:
            text += f"  --{name}  ({kind}; default: {default})\n"
            text += textwrap.indent(textwrap.fill(meaning, 84), "      ") + "\n"
    return text


def rows_of(kind: type) -> list[Row]:
    """The keys of a config, or those that every attack or every rule has, in order."""
    # each field has a docstring under it
    source = "".join(inspect.getsource(base) for base in kind.__mro__[:-1])
    found = re.findall(r'^    (\w+): [^\n]+\n    """(.+?)"""', source, re.MULTILINE | re.DOTALL)
    texts = {name: " ".join(text.split()) for name, text in found}
    defaults = {f.name: _default(f.default, f.default_factory) for f in fields(kind)}
    keys = parameters_of(kind).items()
    return [(name, describe(hint), defaults[name], texts[name]) for name, (hint, _) in keys]


def parameter_rows(function: Callable[..., Any]) -> list[Row]:
    """A function's keys, from its signature, its docstring's lines, and those of its module's."""
    documents = f"{inspect.getmodule(function).__doc__}\n{function.__doc__}"
    texts = dict(re.findall(r"^ *`(\w+)`: (.*)$", documents, re.MULTILINE))
    keys = parameters_of(function).items()
    return [(k, describe(hint), _default(v), texts.get(k, "")) for k, (hint, v) in keys]


def summary(function: Callable[..., Any]) -> str:
    return str(function.__doc__).strip().splitlines()[0]


def _default(default: Any, factory: Any = MISSING) -> str:
    value = default if factory is MISSING else factory()
    return "required" if value in (MISSING, REQUIRED) else json.dumps(to_json(value))
