"""Types, ranges and how values are shown."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest

from extra_utils.basics.errors import ConfigError, show
from extra_utils.config.values import Count, Range, check_value, describe


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (3, int, 3),
        (3, float, 3.0),
        (True, bool, True),
        ("x", Literal["x", "y"], "x"),
        ("Mnist_Net", Literal["net", "mnist_net"], "mnist_net"),
        (None, int | None, None),
        (2, Count | None, 2),
        ([1, 2], list[Count], [1, 2]),
        (1, Annotated[float, Range(0, 1)], 1.0),
        (2**31 - 1, float, float(2**31 - 1)),
        (-7, Annotated[int, Range(high=9)], -7),
        (9, Annotated[int, Range(high=9)], 9),
    ],
)
def test_right_values_are_taken(value: Any, hint: Any, expected: Any) -> None:
    found = check_value("f", "k", value, hint)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (True, int), (1.0, int), ("1", int), (None, int), (1, bool), (1, str), (10**400, float),
        (0, Count), (2**31, Count), (0.0, Annotated[float, Range(0, 1, above=True)]),
        ([1, 0], list[Count]), (1, list[Count]), ({}, str | None), (1, Literal["1"]),
        (True, Literal[1]), (2**31, float), (10, Annotated[int, Range(high=9)]),
    ],
)  # fmt: skip
def test_wrong_values_are_refused(value: Any, hint: Any) -> None:
    with pytest.raises(ConfigError, match=r"^f: k: got .*, must be "):
        check_value("f", "k", value, hint)


def test_hints_are_described_in_words() -> None:
    assert describe(int | None) == "a whole number or null"
    assert describe(Count) == "a whole number from 1 to 2147483647"
    assert describe(Annotated[float, Range(0, above=True)]) == "a number above 0"
    assert describe(Literal["a", 1]) == 'one of "a", 1'
    assert describe(list[Count]) == "a list of whole numbers from 1 to 2147483647"
    assert describe(list[list[int]]) == "a list of lists of whole numbers"
    assert describe(list[float | None]) == "a list of numbers or null"
    assert describe(list[str]) == "a list of strings"


def test_shown_values_are_short_and_on_one_line() -> None:
    assert show("类\n\x1b[31m") == '"类\\n\\u001b[31m"'
    assert show("x" * 1000).endswith("...")
    assert len(show("x" * 1000)) == 60
    assert show({1, 2}) == "a set"
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    assert show(nested) in ("a list",) or show(nested).startswith("[[")
    while nested:  # without recursion, which freeing it all at once would need
        nested = nested[0]
