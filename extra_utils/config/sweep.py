"""Sweeps: some keys have several values, and every combination of them is a run."""

import itertools
import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from extra_utils.basics.errors import ConfigError, show
from extra_utils.config import reader
from extra_utils.config.keys import HINTS
from extra_utils.config.reader import COMMAND_LINE, EITHER, SWEEP, Arguments
from extra_utils.config.values import Count, Json, check_value, read_json

FILE_NAME = "sweep.json"  # in a sweep's folder: a config file that says all of it
MANY_RUNS = 1000  # more than these are not started by mistake
LONGEST_NAME = 120  # of a run's folder
NOT_SWEPT = ("name", "comment", "output_dir", "world_size", "timeout_s", "checkpoint_every")
Part = tuple[str, str]  # a key and a value's text


class Combination(NamedTuple):
    """What one run of a sweep sets."""

    name: str  # of its folder
    choice: Json  # by key, such as `seed` or `defense.name`
    shown: dict[str, str]  # of the keys with several values, the seed left out


class Sweep(NamedTuple):
    """The runs of a config file in which keys have lists of values."""

    path: Path
    lists: dict[str, list[Any]]  # by key: the file's, and the command line's, many of one value
    where: dict[str, str]  # each key was given
    combinations: list[Combination]
    jobs: int | None = None  # at work at a time, where the user says so

    def to_json(self) -> Json:
        """As a config file, which means the same wherever it lies."""
        file = {"name": self.path.stem, "data_path": "data"} | read_json(self.path)
        alone = {k: _absolute(k, v) for k, v in file.items() if k not in {*self.lists, SWEEP}}
        lists = {k: [_absolute(k, v) for v in values] for k, values in self.lists.items()}
        return alone | {SWEEP: lists}


def read_sweep(arguments: Arguments) -> Sweep | None:
    """None where this is one run. Raises ConfigError where the lists are wrong."""
    folder, given = arguments.resume, arguments.config or reader.DEFAULT_CONFIG
    path = Path(given) if folder is None else Path(folder, FILE_NAME)
    own = read_json(path).get(SWEEP) if folder is None or path.is_file() else None
    typed = {key: values_of(key, text) for key, text in arguments.overrides.items()}
    if own is None and (folder is not None or all(len(values) == 1 for values in typed.values())):
        for key in reader.OF_SWEEPS:
            if getattr(arguments, key) is not None:
                raise ConfigError(f"{COMMAND_LINE}: {key}: is for sweeps: give a key two values")
        return None
    if own is not None and (not isinstance(own, dict) or not own):
        got = f'got {show(own)}, must be lists by key: {{"seed": [0, 1]}}'
        raise ConfigError(f"{path}: {SWEEP}: {got}")
    old = {k: v for k, v in (own or {}).items() if not any(_replaces(key, k) for key in typed)}
    lists = old | typed
    where = dict.fromkeys(old, f"{path}: {SWEEP}") | dict.fromkeys(typed, COMMAND_LINE)
    for key, values in lists.items():
        if wrong := _explain(key, values):
            raise ConfigError(f"{where[key]}: {key}: got {show(values)}, {wrong}")
    number = math.prod(map(len, lists.values()))
    if number > MANY_RUNS and arguments.yes not in ("true", "True"):
        raise ConfigError(f"{COMMAND_LINE}: these are {number} runs; --yes starts over {MANY_RUNS}")
    text, jobs = arguments.jobs, None
    if text is not None:
        jobs = check_value(COMMAND_LINE, "jobs", reader.parse_value("jobs", text), Count)
    return Sweep(path, lists, where, _combine(lists, where), jobs)


def baseline_of(sweep: Sweep, given: str | None) -> Part | None:
    """What the others are compared with: as given, else the first rule, else the first value."""
    found: dict[str, Part] = {}  # in order; none where the runs differ in their seeds alone
    for key in sorted(sweep.combinations[0].shown, key=lambda key: not key.startswith("defense")):
        for value in sweep.lists[key]:
            is_named = isinstance(value, dict) and "name" in value
            text = f"{key}.name={value['name']}" if is_named else f"{key}={text_of(value)}"
            found.setdefault(text, (key, text_of(value)))
    if given is not None and given not in found:
        right = f"must be one of {', '.join(found)}" if found else "goes with keys beside the seed"
        raise ConfigError(f"{COMMAND_LINE}: baseline: got {show(given)}, {right}")
    return next(iter(found.values()), None) if given is None else found[given]


def values_of(key: str, text: str) -> list[Any]:
    """What the command line gives a key, split at commas unless it takes free text."""
    if "," not in text or HINTS.get(key) in (str, str | None):
        return [reader.parse_value(key, text)]
    values = reader.parse_value(key, f"[{text}]")
    if isinstance(values, list):  # as JSON, in which a list or an object has commas of its own
        return values
    pieces = [text] if re.search(r'[{["]', text) else [piece.strip() for piece in text.split(",")]
    if not all(pieces):
        got = f"got {show(text)}, must have a value on both sides of each comma"
        raise ConfigError(f"{COMMAND_LINE}: {key}: {got}")
    return [reader.parse_value(key, piece) for piece in pieces]


def _absolute(key: str, value: Any) -> Any:
    """A path from the working directory's root on; any other value as it is."""
    is_path = key == "data_path" or (key == "weights" and value != "imagenet")
    return str(Path(value).absolute()) if is_path and isinstance(value, str) else value


def _explain(key: str, values: Any) -> str:
    """What is wrong with a key's list of values; "" for nothing."""
    if not isinstance(values, list) or not values:
        return "must be a list of one or more values"
    if key in NOT_SWEPT and len(values) > 1:
        return "must be one value: the result does not depend on it"
    text, number = Counter(map(text_of, values)).most_common(1)[0]
    if number > 1:
        return f"of which two would name a run {part_of(key, text)}; must differ in name"
    return ""


def _combine(lists: dict[str, list[Any]], where: dict[str, str]) -> list[Combination]:
    """Seed by seed, so that a sweep that is ended early has whole tables."""
    keys = sorted(lists, key=lambda key: key != "seed")
    named = sorted((key for key in lists if len(lists[key]) > 1), key=lambda key: key == "seed")
    found = []
    for values in itertools.product(*(lists[key] for key in keys)):
        choice = dict(zip(keys, values, strict=True))
        choice = {key: choice[key] for key in lists}  # in the order in which one goes on another
        texts = {key: text_of(choice[key]) for key in named}
        name = ",".join(part_of(*part) for part in texts.items()) or "run"
        if len(name) > LONGEST_NAME:
            got, right = f"the name of the run would be {show(name)}", f"at most {LONGEST_NAME}"
            raise ConfigError(f"{where[named[0]]}: {named[0]}: {got}, must be {right} letters long")
        texts.pop("seed", None)
        found.append(Combination(name, choice, texts))
    return found


def part_of(key: str, text: str) -> str:
    """`defense.name` is called `defense`."""
    return f"{key.removesuffix('.name')}={text}"


def text_of(value: Any) -> str:
    """A value as it stands in a folder's name."""
    if isinstance(value, dict):
        own = [part_of(key, text_of(inner)) for key, inner in value.items() if key != "name"]
        value = "-".join([str(value.get("name", "")), *own])
    text = value if isinstance(value, str) else json.dumps(value)
    return re.sub(r"[^\w.+=-]+", "_", text)


def _replaces(new: str, old: str) -> bool:
    """Whether a key of the command line stands for one of the file's lists, as for a value."""
    outer, _, inner = new.partition(".")
    if inner in ("", "name"):
        return old == outer or old.startswith(f"{outer}.")
    return old == new or (inner in EITHER and old == f"{outer}.{EITHER[inner]}")
