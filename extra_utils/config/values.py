"""Reads JSON, and checks one value against its type hint: one line says what is wrong."""

import difflib
import json
import math
import re
import types
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from extra_utils.basics.errors import ConfigError, show

Json = dict[str, Any]
LARGEST_COUNT = 2**31 - 1
UNIONS, NULL = (Union, types.UnionType), type(None)
WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}


class Range(NamedTuple):
    """The numbers that are right, both ends included unless ``above`` says otherwise."""

    low: float = -math.inf
    high: float = math.inf
    above: bool = False  # the low end itself is not right

    def holds(self, value: float) -> bool:
        return (value > self.low if self.above else value >= self.low) and value <= self.high

    def describe(self) -> str:
        start = f"above {self.low:g}" if self.above else f"from {self.low:g}"
        return f"{start} to {self.high:.15g}" if math.isfinite(self.high) else start


Count = Annotated[int, Range(1, LARGEST_COUNT)]
CountOrZero = Annotated[int, Range(0, LARGEST_COUNT)]
ClassNumber = CountOrZero
Fraction = Annotated[float, Range(0, 1)]
Decay = Annotated[float, Range(0, 0.999999)]  # of a running mean
NotNegative = Annotated[float, Range(0, 1e6)]
Positive = Annotated[float, Range(0, 1e6, above=True)]


def check_value(where: str, key: str, value: object, hint: Any) -> Any:
    """The value as the hint's type (an int given for a float becomes one), or a ConfigError."""
    found = _convert(value, hint)
    if found is None and not (value is None and NULL in get_args(hint)):
        raise ConfigError(f"{where}: {key}: got {show(value)}, must be {describe(hint)}")
    return found


def describe(hint: Any) -> str:
    """The hint in a user's words, for messages, ``--help`` and docs/keys.md."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in UNIONS:
        return " or ".join(describe(member) for member in inner)
    if origin is Annotated:
        return f"{describe(inner[0])} {inner[1].describe()}"
    if origin is Literal:
        return "one of " + ", ".join(json.dumps(choice) for choice in inner)
    if origin is list:
        return "a list of " + re.sub(r"^a ((whole )?\w+)", r"\1s", describe(inner[0]))
    return "null" if hint is NULL else WORDS.get(hint, "an object")


def _convert(value: object, hint: Any) -> Any:
    """The value as the hint's type; None where it does not fit."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in UNIONS:
        fitting = (_convert(value, member) for member in inner)
        return next((found for found in fitting if found is not None), None)
    if origin is Annotated:
        found = _convert(value, inner[0])
        return found if found is not None and inner[1].holds(found) else None
    if origin is Literal:
        fitting = (c for c in inner if type(c) is type(value))  # mnist_Net is the article's
        return next((c for c in fitting if str(c).lower() == str(value).lower()), None)
    if origin is list and isinstance(value, list):
        items = [_convert(entry, inner[0]) for entry in value]
        return None if any(item is None for item in items) else items
    if hint is float and type(value) is int and abs(value) <= LARGEST_COUNT:
        value = float(value)
    # JSON knows no infinite number; files and their names hold no NUL, and no half of a pair but
    # those that stand for the bytes of a name that is not UTF-8
    strange = isinstance(value, float) and not math.isfinite(value)
    if isinstance(value, str):
        strange = re.search("[\0\ud800-\udc7f\udd00-\udfff]", value) is not None
    return value if type(value) is hint and not strange else None


def check_known(where: str, key: str, known: Collection[str]) -> None:
    """A ConfigError that names the nearest known key when ``key`` is none."""
    if key not in known:
        (near,) = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
        raise ConfigError(f"{where}: unknown key {show(key)}; did you mean {show(near)}?")


def read_json(path: Path) -> Json:
    """The object in a UTF-8 JSON file; refuses duplicate keys, NaN and Infinity."""
    try:
        value = parse_json(path.read_bytes().decode("utf-8-sig"))
        if isinstance(value, dict):
            return value
        wrong = f"got {show(value)}, must be an object: {{...}}"
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
    raise ConfigError(f"{path}: {wrong}")


def parse_json(text: str) -> Any:
    def refuse_constant(name: str) -> None:
        raise ValueError(f"{name} is not a number that JSON knows")

    def unique(pairs: list[tuple[str, Any]]) -> Json:
        keys = [key for key, _ in pairs]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise ValueError(f"the key {show(twice[0])} stands twice in one object")
        return dict(pairs)

    return json.loads(text, object_pairs_hook=unique, parse_constant=refuse_constant)
