"""From the command line and a JSON file to a ``GivenConfig``: command line, file, default."""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args, get_type_hints

from extra_utils.basics.errors import ConfigError, WrongKey, show
from extra_utils.config.keys import HINTS, KINDS, STEPS, GivenConfig, to_json
from extra_utils.config.values import NULL, Json, check_known, check_value, parse_json, read_json

COMMAND_LINE = "command line"
DEFAULT_CONFIG = Path(__file__).parents[2] / "configs" / "cifar.json"  # the main job
OF_SWEEPS = ("jobs", "baseline", "yes")
COMMAND_LINE_ONLY = ("config", "run_dir", "resume", *OF_SWEEPS)
SWEEP = "sweep"  # the key of a config file that holds lists
NUMBER = r"[+-]?(\d+\.|\d*\.\d+)([eE][+-]?\d+)?"  # which JSON knows not to the full
PYTHONS = {"True": "true", "False": "false", "None": "null"}
COMES_FROM = {"num_clients": "world_size"}  # where not given
COMES_FROM |= dict.fromkeys(("shards_per_client", "classes_per_client"), "partition")
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
    jobs: str | None = None
    baseline: str | None = None
    yes: str | None = None
    overrides: dict[str, str] = field(default_factory=dict)


def parse_arguments(argv: Iterable[str]) -> Arguments:
    """``--key=value``, ``--key value``, or a switch alone (``--only_0``); the last one wins."""
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
        found[key] = value if equals else "true" if is_alone else rest.pop(0)
    special = {key: found.pop(key) for key in COMMAND_LINE_ONLY if key in found}
    return Arguments(**special, overrides=found)


def parse_value(key: str, text: str) -> Any:
    """JSON, or a number, True, False or None as people type it, else a string."""
    in_json = PYTHONS.get(text, text)
    if HINTS.get(key) in (str, str | None) and in_json != "null":
        return text  # as typed: --name=7
    try:
        if re.fullmatch(r"[+-]?\d+", text):
            return int(text)
        return float(text) if re.fullmatch(NUMBER, text) else parse_json(in_json)
    except (ValueError, RecursionError):
        return text


@dataclass(frozen=True)
class Places:
    """Where the user gave which key, such as `lr`, `attack` or `attack.target`, for messages."""

    where: dict[str, str]
    idle: dict[str, str] = field(default_factory=dict)  # keys of a choice not made, and why

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


def read_config(arguments: Arguments, tables: Tables) -> tuple[GivenConfig, Places]:
    """The config as it was given, each key checked by itself; the tables are of nested keys."""
    path = Path(DEFAULT_CONFIG if arguments.config is None else arguments.config)
    typed = {key: parse_value(key, text) for key, text in arguments.overrides.items()}
    return read_choice(path, typed, dict.fromkeys(typed, COMMAND_LINE), tables)


def read_choice(
    path: Path, choice: Json, where: Mapping[str, str], tables: Tables
) -> tuple[GivenConfig, Places]:
    """The config of a file with these values on top; ``where`` says where each was given."""
    values = read_json(path)
    values.pop(SWEEP, None)
    places = Places({"name": "config file"} | dict.fromkeys(values, str(path)) | dict(where))
    checked: Json = {"name": path.stem}
    with places.named():
        _override(values, places.where, choice, tables)
        if "type" not in values:
            choices = ", ".join(get_args(HINTS["type"]))
            raise ConfigError(f"{path}: type: is missing, must be one of {choices}")
        defaults = {key: to_json(getattr(GivenConfig, key)) for key in STEPS}
        for key, value in (defaults | values).items():
            check_known(places.of(key), key, [*HINTS, *COMMAND_LINE_ONLY, SWEEP])
            if key == SWEEP:
                raise WrongKey(key, "belongs in the config file, as an object of lists")
            if key in COMMAND_LINE_ONLY:
                raise WrongKey(key, f"belongs on the command line: --{key}=...")
            if value is None and NULL in get_args(HINTS[key]):
                continue  # as if it were not given: where null is right, it is the default
            if key not in KINDS:
                checked[key] = check_value(places.of(key), key, value, HINTS[key])
                continue
            several = value if key == "attack" and isinstance(value, list) and value else [value]
            read = [read_nested(key, own, places, tables[key]) for own in several]
            checked[key] = read if key == "attack" else read[0]
    return GivenConfig(**checked), places


def parameters_of(function: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    """A function's or class's own keys, with (type hint, default or REQUIRED) of each."""
    every = inspect.signature(function).parameters.values()
    own = [p for p in every if p.kind is p.KEYWORD_ONLY and p.name != "parameters"]
    hinted = SimpleNamespace(__annotations__={p.name: p.annotation for p in own})  # no torch's
    names = getattr(function, "__globals__", None)  # a class has its hints ready
    hints = get_type_hints(hinted, names, include_extras=True)
    return {p.name: (hints[p.name], p.default) for p in own}


def _override(values: Json, where: dict[str, str], choice: Json, tables: Tables) -> None:
    """Puts the chosen values on top of the file's."""
    nested: dict[str, Json] = {}
    for key, value in choice.items():
        outer, dot, inner = key.partition(".")
        if dot and outer not in KINDS:
            own = {k: set().union(*map(parameters_of, t.values())) for k, t in tables.items()}
            known = [f"{k}.{i}" for k, o in own.items() for i in o.union(parameters_of(KINDS[k]))]
            check_known(where[key], key, [*HINTS, *known])
        of, name = (nested.setdefault(outer, {}), inner) if dot else (values, key)
        of[name] = value
    for key, new in nested.items():
        first = f"{key}.{next(iter(new))}"
        where.setdefault(key, where[first])
        old = values.get(key, to_json(getattr(GivenConfig, key)))
        if isinstance(old, list):
            got = f"{key} is a list of {len(old)}, give --{key}=[...] with all of them"
            raise WrongKey(first, got)
        if not isinstance(old, dict) and "name" not in new:
            raise WrongKey(first, f"there is no {key}, give --{key}.name too")
        kept = old if isinstance(old, dict) else {}
        if new.get("name", kept.get("name")) != kept.get("name"):  # the old one's parameters go
            kept = {inner: kept[inner] for inner in parameters_of(KINDS[key]) if inner in kept}
        kept = {inner: value for inner, value in kept.items() if EITHER.get(inner) not in new}
        values[key] = kept | new


def read_nested(key: str, value: Any, places: Places, functions: Functions) -> Any:
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
    common = parameters_of(KINDS[key])
    hints = {inner: hint for inner, (hint, _) in (common | parameters).items()}
    known = set().union(*map(parameters_of, functions.values()))
    found: Json = {}
    for inner, entry in value.items():
        place = places.of(f"{key}.{inner}")
        if inner not in hints and key in STEPS and inner in known:
            places.idle[f"{key}.{inner}"] = f"{key} is {name}"
            continue
        check_known(f"{place}: {key}", inner, hints)
        found[inner] = check_value(place, f"{key}.{inner}", entry, hints[inner])
    own = {inner: found.pop(inner, default) for inner, (_, default) in parameters.items()}
    if missing := [inner for inner, entry in own.items() if entry is REQUIRED]:
        raise WrongKey(f"{key}.{missing[0]}", f"is missing, {name} needs it")
    return KINDS[key](**found, parameters=own)
