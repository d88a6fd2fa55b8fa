"""What was asked of our second rule, and which rule to take for what, from the evidence's rows."""

from __future__ import annotations

import statistics

from tests.benchmarks.evidence_rows import Row, rows_of, select

Cells = list[list[str]]


def goals() -> Cells:
    """What was asked of `class_rows`, and the worst cell of each; means over the seeds."""
    hides = select([*rows_of("hidden"), *rows_of("fractions"), *rows_of("flips")],
                   defense="class_rows", attack_hide=("None", "null", "class_mean"))  # fmt: skip
    attacked = [r for r in hides if str(r.get("attack", "5")).count("source=0") == 0]
    quiet = [row for row in hides if "no attack" in row["part"]]
    attacked = [r for r in attacked if r not in quiet and "drawn" not in r["part"]]
    some = [row for row in quiet if row["partition"] == "iid" or str(row["alpha"]) == "0.3"]
    flagged = statistics.fmean(row["honest_flagged_ever"] for row in some)
    iid = select(attacked, partition="iid", attack_fraction=(0.2, 0.3, 0.4))
    unequal = select(attacked, partition="dirichlet", alpha=1.0)
    many, few = (select(unequal, attack_fraction=share) for share in (0.4, 0.2))
    both = [row for row in rows_of("fractions") if "no attack" not in row["part"]]
    less = [worst(select(both, defense="class_rows", partition=part, alpha=alpha), "source_recall",
                  select(both, defense="lfighter", partition=part, alpha=alpha))
            for part, alpha in (("iid", None), ("dirichlet", 1.0), ("dirichlet", 0.3))]  # fmt: skip
    return [
        ["goal", "asked", "reached, worst cell"],
        ["(a) honest flagged without attack, iid and dirichlet 0.3", "<= 1 %", f"{flagged:.2f} %"],
        ["(b) found, iid, 20 to 40 %", ">= 95 %", f"{worst(iid, 'found'):.0f} %"],
        ["(c) found, dirichlet 1.0, 40 %", ">= 95 %", f"{worst(many, 'found'):.0f} %"],
        ["(c) found, dirichlet 1.0, 20 %", ">= 80 %", f"{worst(few, 'found'):.0f} %"],
        [
            "(c) honest flagged there",
            "<= 10 %",
            f"{-worst([*many, *few], 'honest_flagged', sign=-1):.1f} %",
        ],
        ["(d) source recall less `lfighter`'s in B", ">= -3", f"{min(less):+.1f}"],
    ]


def worst(rows: list[Row], key: str, others: list[Row] | None = None, sign: int = 1) -> float:
    """The least mean over the seeds of a setting; less that of the others in it."""
    found: dict[tuple[str, ...], dict[str, float]] = {}  # by setting and seed
    of = {setting_of(row): row[key] for row in others or []}
    for row in rows:
        seed, *setting = setting_of(row)
        value = sign * row[key] - of.get(setting_of(row), 0.0)
        found.setdefault(tuple(setting), {})[seed] = value
    return min(statistics.fmean(own.values()) for own in found.values())


def setting_of(row: Row) -> tuple[str, ...]:
    """The seed, and what else the run was."""
    keys = ("seed", "type", "partition", "alpha", "attack.fraction")
    hide = str(row.get("attack.hide")).replace("null", "None")
    return (*(str(row.get(key)) for key in keys), hide)


ADVICE = [  # what is expected, a rule, its plan's part, the figure, and where it does not hold
    ("nothing in particular", "class_mean", "none", "accuracy", "attacks other than flips"),
    ("whatever comes", "median", "worst", "accuracy", "a flip of one class"),
    ("a flip of one class", "class_mean", "label flip", "source_recall", "who knows it; few"),
    ("the same, hidden", "class_rows", "hidden flip", "source_recall", 'who hides by `"rows"`'),
    ("few flippers, unequal data", "tolpegin", "label flip", "source_recall",
     "rounds without attack: it always leaves somebody out"),
    ("a backdoor, equal data", "multi_krum-f=4", "backdoor", "backdoor_success_rate",
     "unequal data; it must be told how many attack"),
    ("flips of all classes", "median", "flip of all", "accuracy", "a flip of one class"),
    ("a turned sign", "median", "sign flip", "accuracy", "a flip of one class, a backdoor"),
    ("updates of any length", "geometric_median", "scaling", "accuracy", "IPM on unequal data"),
    ("attackers who see all updates", "trimmed_mean-beta=0.2", "Min-Max", "accuracy",
     "a flip of one class"),
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
