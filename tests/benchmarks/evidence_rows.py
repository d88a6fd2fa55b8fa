"""The rows under docs/evidence: found by what their runs were, and put in order."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from tests.helpers import ROOT

Row = dict[str, Any]
FOLDER = ROOT / "docs" / "evidence"


def rows_of(name: str) -> list[Row]:
    """A plan's rows, each with its part's keys; those that a sweep has not varied come from it."""
    plan = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    found = []
    for row in plan["rows"]:
        part = plan["base"] | plan["parts"][row["part"]]
        attack = part.get("attack") or {}
        keys = ("type", "partition", "alpha", "num_clients")
        fixed = {key: part.get(key) for key in keys} | {
            "defense": part.get("defense", {}).get("name")
        }
        fixed |= {f"attack.{key}": attack.get(key) for key in ("fraction", "hide")}
        if share := re.search(r"fraction=([\d.]+)", row.get("attack", "")):
            fixed["attack.fraction"] = share.group(1)
        whole = fixed | row
        found.append(whole | ({"alpha": None} if whole["partition"] == "iid" else {}))
    return found


def select(rows: Iterable[Row], **wanted: Any) -> list[Row]:
    """Rows in which each key has this value, or one of these; `_` stands for a dot."""
    found = []
    for row in rows:
        values = {key: row.get(key.replace("_", ".", 1) if key.startswith("attack_") else key)
                  for key in wanted}  # fmt: skip
        if all(matches(values[key], value) for key, value in wanted.items()):
            found.append(row)
    return found


def matches(value: Any, wanted: Any) -> bool:
    some = wanted if isinstance(wanted, tuple) else (wanted,)
    return str(value).lower() in [str(one).lower() for one in some]


def pair_of(row: Row) -> str:
    """`5 -> 3`."""
    source, target = re.findall(r"(?:source|target)=(\d)", row["attack"])
    return f"{source} -> {target}"


def rules_in(rows: list[Row]) -> list[str]:
    return list(dict.fromkeys(row["defense"] for row in sorted(rows, key=order_of)))


def order_of(row: Row) -> tuple[int, str]:
    last = ("lfighter", "class_mean", "class_rows", "oracle")
    name = str(row["defense"])
    return (last.index(name) + 1 if name in last else -(name == "mean"), name)
