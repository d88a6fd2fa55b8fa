"""What was asked of our second rule, and which rule to take for what, from the evidence's rows."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from tests.benchmarks.evidence_rows import Row, pair_of, rows_of, select

Cells = list[list[str]]


def goals() -> Cells:
    """What was asked of `class_rows`, the worst cell of each, and the mean over the cells."""
    rows = select([*rows_of("hidden"), *rows_of("fractions"), *rows_of("flips")],
                  defense="class_rows", attack_hide=("None", "null", "class_mean"))  # fmt: skip
    quiet = [row for row in rows if "no attack" in row["part"]]
    attacked = [row for row in rows if row not in quiet]
    some = [row for row in quiet if row["partition"] == "iid" or str(row["alpha"]) == "0.3"]
    iid = select(attacked, partition="iid", attack_fraction=(0.2, 0.3, 0.4))
    unequal = select(attacked, partition="dirichlet", alpha=1.0)
    many, few = (select(unequal, attack_fraction=share) for share in (0.4, 0.2))
    return [
        ["goal", "asked", "worst cell", "mean of all cells"],
        line("(a) honest flagged without attack, iid and dirichlet 0.3", "<= 1 %",
             cells(some, "honest_flagged_ever"), max),
        line("(b) found, iid, 20 to 40 %", ">= 95 %", cells(iid, "found"), min),
        line("(c) found, dirichlet 1.0, 40 %", ">= 95 %", cells(many, "found"), min),
        line("(c) found, dirichlet 1.0, 20 %", ">= 80 %", cells(few, "found"), min),
        line("(c) honest flagged there", "<= 10 %", cells([*many, *few], "honest_flagged"), max),
        line("(d) source recall less `lfighter`'s in B", ">= -3", differences(), min),
    ]  # fmt: skip


def line(
    goal: str, asked: str, values: list[float], worst: Callable[[list[float]], float]
) -> list[str]:
    return [goal, asked, f"{worst(values):.1f}", f"{statistics.fmean(values):.1f}"]


def cells(rows: list[Row], key: str) -> list[float]:
    """The mean over the seeds of each setting; a run that two plans share counts once."""
    found: dict[tuple[str, ...], dict[str, float]] = {}  # by setting and seed
    for row in rows:
        seed, *setting = cell_of(row)
        found.setdefault(tuple(setting), {})[seed] = row[key]
    return [statistics.fmean(own.values()) for own in found.values()]


def differences() -> list[float]:
    """Source recall under `class_rows` less that under `lfighter`, in each attacked cell of B."""
    rows = [row for row in rows_of("fractions") if "no attack" not in row["part"]]
    ours, theirs = (
        {cell_of(row): row["source_recall"] for row in select(rows, defense=rule)}
        for rule in ("class_rows", "lfighter")
    )
    return [ours[setting] - theirs[setting] for setting in theirs]


def cell_of(row: Row) -> tuple[str, ...]:
    """The seed, and what else the run was."""
    keys = ("seed", "type", "partition", "alpha", "attack.fraction")
    hide = str(row.get("attack.hide")).replace("null", "None")
    usual = "5 -> 3" if row["type"] == "cifar" else "6 -> 0"
    pair = pair_of(row) if "source=" in str(row.get("attack")) else usual
    return (*(str(row.get(key)) for key in keys), hide, pair)


ADVICE = [  # what is expected, a rule, its plan's part, the figure, and where it does not hold
    ("nothing in particular", "class_mean", "none", "accuracy", "attacks other than flips"),
    ("whatever comes", "median", "worst", "accuracy",
     "a flip of one class, a backdoor; it costs accuracy without attack on unequal data"),
    ("a flip of one class, equal data", "class_mean", "label flip", "source_recall",
     "who knows it"),
    ("the same, hidden", "class_rows", "hidden flip", "source_recall",
     'who hides by `"rows"`; random labels'),
    ("a flip of one class, unequal data", "tolpegin", "label flip", "source_recall",
     "fewer flippers (2 of 20: below), and it always leaves somebody out"),
    ("a backdoor, equal data", "foolsgold", "backdoor", "backdoor_success_rate",
     "unequal data; random labels, scaling"),
    ("flips of all classes, unequal data", "median", "flip of all", "accuracy",
     "a flip of one class"),
    ("a turned sign, unequal data", "median", "sign flip", "accuracy",
     "a flip of one class, a backdoor"),
    ("updates of any length", "geometric_median", "scaling", "accuracy",
     "a flip of one class, a backdoor, IPM on unequal data"),
    ("attackers who see all updates, unequal data", "foolsgold", "Min-Max", "accuracy",
     "random labels, scaling, a turned sign"),
]  # fmt: skip


def advice() -> Cells:
    """C's figure for each case: the rule's, the mean's, the oracle's."""
    of: dict[tuple[str, str, str], Row] = {}
    for row in rows_of("worst_case"):
        place = row["defense"], row["partition"]
        of[*place, row["part"]] = row
        least = of.setdefault((*place, "worst"), {"accuracy": 100.0})
        if row["part"] != "none":
            least["accuracy"] = min(least["accuracy"], row["accuracy"])
    lines = [
        ["expected", "rule", "figure", "iid: rule, `mean`, `oracle`", "dirichlet", "not against"]
    ]
    for case, rule, part, key, not_against in ADVICE:
        line = [case, f"`{rule}`", f"{key.replace('_', ' ')}, {part}"]
        for partition in ("iid", "dirichlet"):
            own = [
                of.get((name, partition, part), {}).get(key) for name in (rule, "mean", "oracle")
            ]
            line.append(", ".join("-" if one is None else f"{one:.1f}" for one in own))
        lines.append([*line, not_against])
    return lines
