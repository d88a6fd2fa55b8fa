"""From the command line and a JSON file to a checked ``Config``: command line, file, default.

Everything that is wrong with the user's input ends here in a ``ConfigError`` of one line.
"""

from __future__ import annotations

import difflib
import inspect
import json
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from extra_utils.basics.errors import ConfigError
from extra_utils.config.keys import AttackConfig, Config, DefenseConfig
from extra_utils.config.values import check_value, is_text, show

COMMAND_LINE = "command line"
COMMAND_LINE_ONLY = ("config", "run_dir", "resume")
Table = Mapping[str, Callable[..., Any]]
Json = dict[str, Any]


@dataclass(frozen=True)
class Arguments:
    """The command line, split up; values are still text."""

    config: str | None = None
    run_dir: str | None = None
    resume: str | None = None
    overrides: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Given:
    """The keys that the user gave, and where each was given (for messages)."""

    values: Json
    where: dict[str, str]


def parse_arguments(argv: Iterable[str]) -> Arguments:
    """Both ``--key=value`` and ``--key value``; the last of several wins."""
    found: dict[str, str] = {}
    rest = list(argv)
    while rest:
        option = rest.pop(0)
        if not option.startswith("--") or option == "--":
            raise ConfigError(
                f"{COMMAND_LINE}: got {show(option)}, must be --key=value; see --help"
            )
        key, equals, value = option[2:].partition("=")
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise ConfigError(f"{COMMAND_LINE}: {key}: has no value, must be --{key}=value")
            value = rest.pop(0)
        found[key] = value
    special = {key: found.pop(key) for key in COMMAND_LINE_ONLY if key in found}
    return Arguments(**special, overrides=found)


def read_json(path: Path) -> Json:
    """The object in a UTF-8 JSON file; refuses duplicate keys, NaN and Infinity."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8: {error.reason} at byte {error.start}") from None
    try:
        value = _parse_json(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise ConfigError(f"{path}: is not JSON: {error.msg} at {place}") from None
    except RecursionError:
        raise ConfigError(f"{path}: is nested too deeply for a config") from None
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: got {show(value)}, must be an object: {{...}}")
    return value


def read_config(arguments: Arguments, attacks: Table, defenses: Table) -> tuple[Config, Given]:
    """The checked config and what of it the user gave. Tables map names to functions."""
    if arguments.config is None:
        raise ConfigError(f"{COMMAND_LINE}: config: is missing, try --config=configs/cifar.json")
    path = Path(arguments.config)
    values = read_json(path)
    given = _override(Given(values, dict.fromkeys(values, str(path))), arguments.overrides)
    return config_of(given, path, attacks, defenses), given


def config_of(given: Given, path: Path, attacks: Table, defenses: Table) -> Config:
    """The checked config of the keys that were given, in the file at ``path`` for the most part."""
    if "type" not in given.values:
        choices = ", ".join(typing.get_args(typing.get_type_hints(Config)["type"]))
        raise ConfigError(f"{path}: type: is missing, must be one of {choices}")
    hints = typing.get_type_hints(Config, include_extras=True)
    nested = {"attack": (AttackConfig, attacks), "defense": (DefenseConfig, defenses)}
    checked: Json = {"name": path.stem}
    for key, value in given.values.items():
        where = given.where[key]
        check_known(where, key, [*hints, *COMMAND_LINE_ONLY])
        if key in COMMAND_LINE_ONLY:
            raise ConfigError(f"{where}: {key}: belongs on the command line: --{key}=...")
        if key in nested:
            checked[key] = _read_nested(given, key, value, *nested[key])
        else:
            checked[key] = check_value(where, key, value, hints[key])
    checked["name"] = path.stem if checked["name"] is None else checked["name"]
    return Config(**checked)


def check_known(where: str, key: str, known: Iterable[str]) -> None:
    """A ConfigError that names the nearest known key when ``key`` is none."""
    names = list(known)
    if key not in names:
        near = difflib.get_close_matches(key, names, n=1, cutoff=0.0)
        raise ConfigError(f"{where}: unknown key {show(key)}; did you mean {show(near[0])}?")


def parameters_of(function: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    """A rule's or attack's own keys: name to (type hint, default; MISSING where required)."""
    keyword_only = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    annotations = {parameter.name: parameter.annotation for parameter in keyword_only}
    hints = typing.get_type_hints(  # of the others some need torch
        SimpleNamespace(__annotations__=annotations), function.__globals__, include_extras=True
    )
    empty = inspect.Parameter.empty
    return {
        p.name: (hints[p.name], MISSING if p.default is empty else p.default) for p in keyword_only
    }


def _parse_json(text: str) -> Any:
    def refuse_constant(name: str) -> None:
        raise ValueError(f"{name} is not a number that JSON knows")

    def unique(pairs: list[tuple[str, Any]]) -> Json:
        keys = [key for key, _ in pairs]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise ValueError(f"the key {show(twice)} stands twice in one object")
        return dict(pairs)

    return json.loads(text, object_pairs_hook=unique, parse_constant=refuse_constant)


def _parse_override(key: str, text: str, hints: Mapping[str, Any]) -> Any:
    """JSON, else a string; a key that takes free text keeps it as typed."""
    if is_text(hints.get(key)) and text != "null":
        return text
    try:
        return _parse_json(text)
    except (ValueError, RecursionError):
        return text


def _override(given: Given, overrides: Mapping[str, str]) -> Given:
    """The file's values with the command line's on top."""
    hints = typing.get_type_hints(Config, include_extras=True)
    values, where = dict(given.values), dict(given.where)
    parsed = {key: _parse_override(key, text, hints) for key, text in overrides.items()}
    for key in (key for key in parsed if "." not in key):
        values[key], where[key] = parsed[key], COMMAND_LINE
    dotted = [key for key in parsed if "." in key]
    for key in sorted(dotted, key=lambda key: not key.endswith(".name")):  # the name goes first
        outer, inner = key.split(".", 1)
        if outer not in ("attack", "defense"):
            raise ConfigError(
                f"{COMMAND_LINE}: unknown key {show(key)}; only attack and defense nest"
            )
        old = values.get(outer, {"name": "mean"} if outer == "defense" else None)
        values[outer] = _override_nested(outer, inner, parsed[key], old)
        where.setdefault(outer, COMMAND_LINE)
        where[key] = COMMAND_LINE
    if "attack.clients" in parsed and "attack.fraction" in parsed:
        raise ConfigError(
            f"{COMMAND_LINE}: attack: got clients and fraction, must be one of the two"
        )
    return Given(values, where)


def _override_nested(outer: str, inner: str, value: Any, old: Any) -> Json:
    if inner == "name":
        shared = {"clients", "fraction", "start_round"} if outer == "attack" else set()
        same = isinstance(old, dict) and old.get("name") == value
        kept = old if isinstance(old, dict) else {}
        return {k: v for k, v in kept.items() if same or k in shared} | {"name": value}
    if not isinstance(old, dict):
        key = f"{outer}.{inner}"
        raise ConfigError(f"{COMMAND_LINE}: {key}: there is no {outer}, give --{outer}.name too")
    other = {"clients": "fraction", "fraction": "clients"}.get(inner)  # they replace each other
    return {k: v for k, v in old.items() if k != other} | {inner: value}


def _read_nested(given: Given, key: str, value: Any, kind: type, table: Table) -> Any:
    """An ``AttackConfig`` or ``DefenseConfig`` from its JSON object."""
    where = given.where[key]
    if value is None and kind is AttackConfig:
        return None
    if not isinstance(value, dict) or "name" not in value:
        raise ConfigError(
            f'{where}: {key}: got {show(value)}, must be {{"name": ...}} with its keys'
        )
    if not isinstance(value["name"], str) or value["name"] not in table:
        choices = ", ".join(table)
        place = given.where.get(f"{key}.name", where)
        raise ConfigError(
            f"{place}: {key}.name: got {show(value['name'])}, must be one of {choices}"
        )
    if value.get("fraction") is not None and value.get("clients") is not None:
        raise ConfigError(f"{where}: {key}: got clients and fraction, must be one of the two")
    hints = typing.get_type_hints(kind, include_extras=True)
    own = {f.name: hints[f.name] for f in fields(kind) if f.name != "parameters"}
    parameters = parameters_of(table[value["name"]])
    common: Json = {}
    special: Json = {name: default for name, (_, default) in parameters.items()}
    for inner, entry in value.items():
        place = given.where.get(f"{key}.{inner}", where)
        check_known(f"{place}: {key}", inner, [*own, *parameters])
        if inner in own:
            common[inner] = check_value(place, f"{key}.{inner}", entry, own[inner])
        else:
            special[inner] = check_value(place, f"{key}.{inner}", entry, parameters[inner][0])
    missing = [name for name, found in special.items() if found is MISSING]
    if missing:
        raise ConfigError(f"{where}: {key}.{missing[0]}: is missing, {value['name']} needs it")
    return kind(**common, parameters=special)
