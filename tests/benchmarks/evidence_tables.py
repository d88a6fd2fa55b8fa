"""The tables of docs/evidence.md, from the rows under docs/evidence alone."""

from __future__ import annotations

import statistics
from math import comb

from extra_utils.basics.spread import difference_of, spread_of, with_doubt
from tests.benchmarks.evidence_rows import Row, rows_of, rules_in, select

Cells = list[list[str]]


def cell(rows: list[Row], key: str, digits: int = 1) -> str:
    """The mean over the rows with half its 95 % interval; `-` where no row has the figure."""
    spread = spread_of(row.get(key) for row in rows)
    return "-" if spread is None else with_doubt(spread.mean, spread.half, digits)


def paired(rows: list[Row], others: list[Row], key: str, by: tuple[str, ...]) -> str:
    """Of the rows less the others of the same seed and setting, with half its 95 % interval."""
    of = {setting_of(row, by): row.get(key) for row in others}
    spread = difference_of((row.get(key), of.get(setting_of(row, by))) for row in rows)
    return "-" if spread is None else with_doubt(spread.mean, spread.half, sign="+")


def setting_of(row: Row, by: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(str(row.get(key)).replace("null", "None") for key in by)


FIGURES = {
    "source recall %": "source_recall",
    "attackers found %": "found",
    "honest flagged %": "honest_flagged",
}
SETTING = ("seed", "attack", "partition", "attack.fraction", "alpha", "attack.hide")


def by_rule(groups: dict[str, list[Row]]) -> Cells:
    """Of each group a line for each rule: its figures, and its recall less the oracle's."""
    lines = [["setting", "rule", "n", *FIGURES, "source recall less oracle's"]]
    for title, rows in groups.items():
        best = select(rows, defense="oracle")
        for rule in rules_in(rows):
            own = select(rows, defense=rule)
            figures = [cell(own, key) for key in FIGURES.values()]
            less = "" if rule == "oracle" else paired(own, best, "source_recall", SETTING)
            lines.append([title, f"`{rule}`", str(len(own)), *figures, less])
    return lines


def flips() -> Cells:
    rows = rows_of("flips")
    groups = {}
    for partition in ("iid", "dirichlet"):
        for part, title in (("published pairs", "5 -> 3 and 0 -> 2"),
                            ("drawn pairs", "1 -> 9 and ten drawn pairs")):  # fmt: skip
            groups[f"{partition}, {title}"] = select(rows, partition=partition, part=part)
    return by_rule(groups)


def no_attack() -> Cells:
    """Of our two rules, by data and split, and all together."""
    rows = [row for row in rows_of("fractions") if row["part"].startswith("no attack")]
    rows += select(rows_of("hidden"), part="Fashion-MNIST, no attack")
    lines = [["setting", "rule", "runs", "honest flagged, all rounds, %", "runs with a flag"]]
    splits = {"iid": None, "dirichlet 1.0": 1.0, "dirichlet 0.3": 0.3, "dirichlet 0.1": 0.1}
    for rule in rules_in(rows):
        mine = select(rows, defense=rule)
        for kind in ("cifar", "fashion_mnist"):
            for title, alpha in splits.items():
                if own := select(mine, type=kind, alpha=alpha):
                    lines.append([f"{kind}, {title}", f"`{rule}`", *of_false_flags(own)])
        lines.append(["all", f"`{rule}`", *of_false_flags(mine)])
    return lines


def of_false_flags(rows: list[Row]) -> list[str]:
    """Runs, the share of the honest that were flagged, and how many runs flagged anybody."""
    shares = [row["honest_flagged_ever"] for row in rows]
    hits, n = sum(share > 0 for share in shares), len(rows)
    bound = 100 * upper_bound(hits, n)
    return [str(n), f"{statistics.fmean(shares):.2f}", f"{hits} (one-sided 95 %: <= {bound:.0f} %)"]


def upper_bound(hits: int, n: int) -> float:
    """The share that would give so few hits or fewer in n with 5 % (Clopper and Pearson)."""
    low, high = hits / n, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        seen = sum(comb(n, k) * middle**k * (1 - middle) ** (n - k) for k in range(hits + 1))
        low, high = (middle, high) if seen > 0.05 else (low, middle)
    return high


def hidden() -> Cells:
    rows = [row for row in rows_of("hidden") if "no attack" not in row["part"]]
    lines = [["data, partition, attackers, hidden as", "rule", "n", *FIGURES, "attack success %"]]
    keys = ("type", "partition", "attack.fraction", "attack.hide")
    settings = {tuple(str(row[key]) for key in keys) for row in rows}
    for kind, partition, fraction, hide in sorted(settings):
        own = select(rows, type=kind, partition=partition, attack_fraction=fraction,
                     attack_hide=hide)  # fmt: skip
        title = f"{kind}, {partition}, {float(fraction):.0%}, {hide}"
        title = title.replace("None", "not").replace("null", "not").replace("%", " %")
        for rule in rules_in(own):
            some = select(own, defense=rule)
            figures = [cell(some, key) for key in (*FIGURES.values(), "attack_success_rate")]
            lines.append([title, f"`{rule}`", str(len(some)), *figures])
    return lines


def other_settings() -> Cells:
    rows = rows_of("other_settings")
    fashion = select(rows_of("hidden"), part="Fashion-MNIST 6->0", attack_fraction=0.4,
                     attack_hide=("None", "null"))  # fmt: skip
    groups = {}
    for part in dict.fromkeys(row["part"] for row in rows):
        for partition in ("iid", "dirichlet"):
            own = select(rows, part=part, partition=partition)
            more = select(fashion, partition=partition) if part.startswith("Fashion") else []
            groups[f"{part}, {partition}"] = own + [row | {"attack": None} for row in more]
    return by_rule(groups)


def fractions() -> Cells:
    """B's figures in numbers: attackers found / honest flagged / source recall."""
    rows = [row for row in rows_of("fractions") if not row["part"].startswith("no attack")]
    shares = sorted({str(row["attack.fraction"]) for row in rows}, key=float)
    lines = [["setting", "rule", *(f"{float(share):.0%}".replace("%", " %") for share in shares)]]
    for partition, alpha in (("iid", None), ("dirichlet", "1.0"), ("dirichlet", "0.3")):
        own = select(rows, partition=partition, alpha=alpha)
        for rule in rules_in(own):
            line = [f"{partition} {alpha or ''}".strip(), f"`{rule}`"]
            for share in shares:
                some = select(own, defense=rule, attack_fraction=share)
                keys = ("found", "honest_flagged", "source_recall")
                line.append(" / ".join(cell(some, key, 0) for key in keys))
            lines.append(line)
    return lines


def worst_case() -> Cells:
    """For each rule its lowest accuracy, under which attack, and the attacks' own figures."""
    rows = rows_of("worst_case")
    lines = [["rule", *(f"{head}, {partition}" for partition in ("iid", "dirichlet")
              for head in ("no attack", "worst", "recall, flip", "recall, hidden",
                           "backdoor success"))]]  # fmt: skip
    for rule in rules_in(rows):
        line = [f"`{rule}`"]
        for partition in ("iid", "dirichlet"):
            own = {row["part"]: row for row in select(rows, defense=rule, partition=partition)}
            attacked = {k: row["accuracy"] or 0.0 for k, row in own.items() if k != "none"}
            worst = min(attacked, key=lambda key: attacked[key], default="")
            line += [text_of(own, "none", "accuracy"), f"{attacked.get(worst, 0):.1f} ({worst})"]
            line += [text_of(own, "label flip", "source_recall"),
                     text_of(own, "hidden flip", "source_recall"),
                     text_of(own, "backdoor", "backdoor_success_rate")]  # fmt: skip
        lines.append(line)
    return lines


def text_of(rows: dict[str, Row], part: str, key: str) -> str:
    value = rows.get(part, {}).get(key)
    return "-" if value is None else f"{value:.1f}"
