"""Checks one value against its type hint, and says in one line what is wrong with it."""

from __future__ import annotations

import json
import math
import types
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from extra_utils.basics.errors import ConfigError

LARGEST_COUNT = 2**31 - 1
SHOWN_LENGTH = 60  # a longer value is cut in messages


@dataclass(frozen=True)
class Range:
    """The numbers that are right, both ends included unless ``above`` says otherwise."""

    low: float = -math.inf
    high: float = math.inf
    above: bool = False  # the low end itself is not right

    def holds(self, value: float) -> bool:
        return (value > self.low if self.above else value >= self.low) and value <= self.high

    def describe(self) -> str:
        start = f"above {self.low:g}" if self.above else f"from {self.low:g}"
        return f"{start} to {_bound(self.high)}" if math.isfinite(self.high) else start


Count = Annotated[int, Range(1, LARGEST_COUNT)]
CountOrZero = Annotated[int, Range(0, LARGEST_COUNT)]
ClassNumber = Annotated[int, Range(0, LARGEST_COUNT)]
Fraction = Annotated[float, Range(0, 1)]


def show(value: object) -> str:
    """The value as JSON on one line, cut when it is long; never fails."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):  # an object of ours, or nested too deeply
        text = f"a {type(value).__name__}"
    text = printable(text)
    return text if len(text) <= SHOWN_LENGTH else text[: SHOWN_LENGTH - 3] + "..."


def printable(text: str) -> str:
    """The text with what would move a terminal's cursor, or could not be encoded, escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def check_value(where: str, key: str, value: object, hint: Any) -> Any:
    """The value as the hint's type (an int given for a float becomes one), or a ConfigError."""
    found = _convert(value, hint)
    if found is None and not (value is None and allows_null(hint)):
        raise ConfigError(f"{where}: {key}: got {show(value)}, must be {describe(hint)}")
    return found


def allows_null(hint: Any) -> bool:
    return hint is None or hint is type(None) or any(allows_null(h) for h in _members(hint))


def describe(hint: Any) -> str:
    """The hint in a user's words, for messages, ``--help`` and the README's table."""
    if members := _members(hint):
        return " or ".join(describe(member) for member in members)
    if get_origin(hint) is Annotated:
        base, limits = get_args(hint)
        return f"{describe(base)} {limits.describe()}"
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(json.dumps(choice) for choice in get_args(hint))
    if get_origin(hint) is list:
        (item,) = get_args(hint)
        return f"a list of {describe(item).removeprefix('a ').replace('number', 'numbers', 1)}"
    names = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "a string",
    }
    return "null" if hint in (None, type(None)) else names.get(hint, "an object")


def is_text(hint: Any) -> bool:
    """Whether the hint takes a free string, so that ``--name=7`` means the string "7"."""
    return hint is str or str in _members(hint)


def _members(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else ()


def _bound(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:g}"


def _convert(value: object, hint: Any) -> Any:
    """The value as the hint's type; None where it does not fit."""
    if members := _members(hint):
        fitting = (_convert(value, member) for member in members)
        return next((found for found in fitting if found is not None), None)
    if get_origin(hint) is Annotated:
        base, limits = get_args(hint)
        found = _convert(value, base)
        return found if found is not None and limits.holds(found) else None
    if get_origin(hint) is Literal:
        same = (c for c in get_args(hint) if type(c) is type(value) and c == value)
        return next(same, None)
    if get_origin(hint) is list:
        return _convert_list(value, get_args(hint)[0])
    return _convert_plain(value, hint)


def _convert_list(value: object, item: Any) -> list[Any] | None:
    if not isinstance(value, list):
        return None
    found = [_convert(entry, item) for entry in value]
    return None if any(entry is None for entry in found) else found


def _convert_plain(value: object, hint: Any) -> Any:
    if hint is float and type(value) is int:
        value = float(value) if abs(value) <= LARGEST_COUNT else math.inf
    if isinstance(value, str) and not _is_writable(value):
        return None
    if type(value) is not hint or (hint is float and not math.isfinite(value)):  # type: ignore[arg-type]
        return None
    return value


def _is_writable(text: str) -> bool:
    """Whether files and file names can hold it: no NUL, no half of a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
