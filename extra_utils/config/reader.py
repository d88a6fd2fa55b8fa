"""From the command line and a JSON file to a ``GivenConfig``: command line, file, default.

Everything that is wrong with the user's input ends here in a ``ConfigError`` of one line.
"""

import difflib
import inspect
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args, get_type_hints

from extra_utils.basics.errors import ConfigError, WrongKey, show
from extra_utils.config.keys import HINTS, KINDS, GivenConfig, Json, hints_of, to_json
from extra_utils.config.values import NULL, check_value

COMMAND_LINE = "command line"
DEFAULT_CONFIG = Path(__file__).parents[2] / "configs" / "cifar.json"  # the main job
COMMAND_LINE_ONLY = ("config", "run_dir", "resume")
COMES_FROM = {"num_clients": "world_size", "shards_per_client": "partition"}  # where not given
NUMBER = r"[+-]?(\d+\.|\d*\.\d+)([eE][+-]?\d+)?"  # which JSON knows not to the full
PYTHONS = {"True": "true", "False": "false", "None": "null"}
EITHER = {"clients": "fraction", "fraction": "clients"}  # of an attack; they replace each other
REQUIRED = inspect.Parameter.empty
Functions = Mapping[str, Callable[..., Any]]  # by name; keyword-only parameters are keys
Tables = Mapping[str, Functions]  # by nested key


@dataclass(frozen=True)
class Arguments:
    """The command line, split up; values are still text."""

    config: str | None = None
    run_dir: str | None = None
    resume: str | None = None
    overrides: dict[str, str] = field(default_factory=dict)

    @property
    def notice(self) -> str:
        """Which config is taken where none was given; "" where one was."""
        is_given = self.config is not None or self.resume is not None
        return "" if is_given else f"config: {DEFAULT_CONFIG}, as none was given"


@dataclass(frozen=True)
class Places:
    """Where the user gave which key, such as `lr`, `attack` or `attack.target`, for messages."""

    where: dict[str, str]

    def of(self, key: str) -> str:
        """Where to look when the key's value is wrong."""
        keys = (key, key.partition(".")[0], COMES_FROM.get(key))
        return next((self.where[k] for k in keys if k in self.where), "default")

    @contextmanager
    def named(self) -> Iterator[None]:
        """A WrongKey from here becomes a ConfigError that begins with the key's place."""
        try:
            yield
        except WrongKey as wrong:
            raise ConfigError(f"{self.of(wrong.key)}: {wrong}") from None


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
        if is_alone and HINTS.get(key) is not bool:
            if "." not in key:
                check_known(COMMAND_LINE, key, [*HINTS, *COMMAND_LINE_ONLY])
            raise ConfigError(f"{COMMAND_LINE}: {key}: has no value, must be --{key}=value")
        if not equals:
            value = "true" if is_alone else rest.pop(0)
        found[key] = value
    special = {key: found.pop(key) for key in COMMAND_LINE_ONLY if key in found}
    return Arguments(**special, overrides=found)


def read_json(path: Path) -> Json:
    """The object in a UTF-8 JSON file; refuses duplicate keys, NaN and Infinity."""
    try:
        value = _parse_json(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        wrong = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        wrong = f"is not UTF-8: {error.reason} at byte {error.start}"
    except json.JSONDecodeError as error:
        wrong = f"is not JSON: {error.msg} at line {error.lineno} column {error.colno}"
    except RecursionError:
        wrong = "is nested too deeply for a config"
    except ValueError as error:
        wrong = str(error)
    else:
        if isinstance(value, dict):
            return value
        wrong = f"got {show(value)}, must be an object: {{...}}"
    raise ConfigError(f"{path}: {wrong}")


def read_config(arguments: Arguments, tables: Tables) -> tuple[GivenConfig, Places]:
    """The config as it was given, each key checked by itself; the tables are of nested keys."""
    path = Path(DEFAULT_CONFIG if arguments.config is None else arguments.config)
    values = read_json(path)
    places = Places({"name": "config file"} | dict.fromkeys(values, str(path)))
    with places.named():
        _override(values, places.where, arguments.overrides, tables)
        return config_of(values, places, path, tables), places


def config_of(values: Json, places: Places, path: Path, tables: Tables) -> GivenConfig:
    """The config of these values, which for the most part are from the file at ``path``."""
    if "type" not in values:
        choices = ", ".join(get_args(HINTS["type"]))
        raise ConfigError(f"{path}: type: is missing, must be one of {choices}")
    checked: Json = {"name": path.stem}
    for key, value in values.items():
        check_known(places.of(key), key, [*HINTS, *COMMAND_LINE_ONLY])
        if key in COMMAND_LINE_ONLY:
            raise WrongKey(key, f"belongs on the command line: --{key}=...")
        if value is None and NULL in get_args(HINTS[key]):
            continue  # as if it were not given: where null is right, it is the default
        if key in KINDS:
            checked[key] = _read_nested(key, value, places, tables[key])
        else:
            checked[key] = check_value(places.of(key), key, value, HINTS[key])
    return GivenConfig(**checked)


def check_known(where: str, key: str, known: Collection[str]) -> None:
    """A ConfigError that names the nearest known key when ``key`` is none."""
    if key not in known:
        (near,) = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
        raise ConfigError(f"{where}: unknown key {show(key)}; did you mean {show(near)}?")


def parameters_of(function: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    """A rule's or attack's own keys: name to (type hint, default or REQUIRED)."""
    own = [p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
    hinted = SimpleNamespace(__annotations__={p.name: p.annotation for p in own})  # no torch's
    hints = get_type_hints(hinted, function.__globals__, include_extras=True)
    return {p.name: (hints[p.name], p.default) for p in own}


def nested_keys(tables: Tables) -> Iterator[str]:
    """Such as `attack.target`: of every attack and every rule."""
    for key, functions in tables.items():
        own = [parameters_of(function) for function in functions.values()]
        for inner in set(hints_of(KINDS[key])).union(*own):
            yield f"{key}.{inner}"


def _parse_json(text: str) -> Any:
    def refuse_constant(name: str) -> None:
        raise ValueError(f"{name} is not a number that JSON knows")

    def unique(pairs: list[tuple[str, Any]]) -> Json:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in found if keys.count(key) > 1)
            raise ValueError(f"the key {show(twice)} stands twice in one object")
        return found

    return json.loads(text, object_pairs_hook=unique, parse_constant=refuse_constant)


def _parse_override(key: str, text: str) -> Any:
    """JSON, or a number, True, False or None as people type it, else a string.

    A key that takes free text keeps it as typed: ``--name=7``.
    """
    in_json = PYTHONS.get(text, text)
    if HINTS.get(key) in (str, str | None) and in_json != "null":
        return text
    try:
        if re.fullmatch(r"[+-]?\d+", text):
            return int(text)
        return float(text) if re.fullmatch(NUMBER, text) else _parse_json(in_json)
    except (ValueError, RecursionError):
        return text


def _override(
    values: Json, where: dict[str, str], overrides: Mapping[str, str], tables: Tables
) -> None:
    """Puts the command line's values on top of the file's."""
    nested: dict[str, Json] = {}
    for key, text in overrides.items():
        outer, dot, inner = key.partition(".")
        if dot and outer not in KINDS:
            check_known(COMMAND_LINE, key, [*HINTS, *nested_keys(tables)])
        of, name = (nested.setdefault(outer, {}), inner) if dot else (values, key)
        of[name], where[key] = _parse_override(key, text), COMMAND_LINE
    for key, new in nested.items():
        where.setdefault(key, COMMAND_LINE)
        values[key] = _merge(key, values.get(key, to_json(getattr(GivenConfig, key))), new)


def _merge(key: str, old: Any, new: Json) -> Json:
    """A nested key's object with new values; a new name drops the old one's parameters."""
    if not isinstance(old, dict) and "name" not in new:
        raise WrongKey(f"{key}.{next(iter(new))}", f"there is no {key}, give --{key}.name too")
    kept = old if isinstance(old, dict) else {}
    if new.get("name", kept.get("name")) != kept.get("name"):
        kept = {inner: kept[inner] for inner in hints_of(KINDS[key]) if inner in kept}
    return {inner: value for inner, value in kept.items() if EITHER.get(inner) not in new} | new


def _read_nested(key: str, value: Any, places: Places, functions: Functions) -> Any:
    """A nested key's config from its JSON object, whose name is that of one of the functions."""
    if not isinstance(value, dict) or "name" not in value:
        raise WrongKey(key, f'got {show(value)}, must be {{"name": ...}} with its keys')
    name = value["name"]
    if not isinstance(name, str) or name not in functions:
        raise WrongKey(f"{key}.name", f"got {show(name)}, must be one of {', '.join(functions)}")
    if all(value.get(inner) is not None for inner in EITHER):
        place = places.of(f"{key}.fraction")
        raise ConfigError(f"{place}: {key}: got clients and fraction, must be one of the two")
    parameters = parameters_of(functions[name])
    hints = hints_of(KINDS[key]) | {inner: hint for inner, (hint, _) in parameters.items()}
    found: Json = {}
    for inner, entry in value.items():
        place = places.of(f"{key}.{inner}")
        check_known(f"{place}: {key}", inner, hints)
        found[inner] = check_value(place, f"{key}.{inner}", entry, hints[inner])
    own = {inner: found.pop(inner, default) for inner, (_, default) in parameters.items()}
    if missing := [inner for inner, entry in own.items() if entry is REQUIRED]:
        raise WrongKey(f"{key}.{missing[0]}", f"is missing, {name} needs it")
    return KINDS[key](**found, parameters=own)
