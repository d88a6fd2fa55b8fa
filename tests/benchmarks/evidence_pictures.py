"""The pictures of docs/evidence.md: matrices of figures, each number in its cell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from extra_utils.basics.spread import spread_of
from tests.benchmarks.evidence_rows import Row, pair_of, rows_of, rules_in, select

Values = NDArray[np.float64]
CELL = 0.26  # inches, of a row's height
OF_C = ("label flip", "hidden flip", "flip of all", "random label", "backdoor", "sign flip",
        "scaling", "ALIE", "IPM", "Min-Max")  # fmt: skip


def matrix(
    axes: Axes, values: Values, rows: list[str], columns: list[str], title: str, top: float = 100
) -> None:
    """Figures [rows, columns] from 0 to ``top`` in colour and number; NaN stays empty."""
    axes.imshow(values, cmap="Blues", vmin=0, vmax=top, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            color = "white" if value > 0.6 * top else "black"
            axes.text(
                column, row, f"{value:.0f}", ha="center", va="center", color=color, fontsize=6
            )
    axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right", fontsize=7)
    axes.set_yticks(range(len(rows)), rows, fontsize=7)
    axes.tick_params(length=0)
    axes.set_title(title, fontsize=9)


def panels(widths: list[int], rows: int, title: str) -> tuple[Figure, list[Axes]]:
    """Matrices of so many columns and rows side by side."""
    figure = Figure(figsize=(7.2, 1.7 + CELL * rows), layout="constrained")
    figure.subplots(1, len(widths), sharey=True, width_ratios=widths)
    figure.suptitle(title, fontsize=9)
    return figure, figure.axes


def mean_of(rows: list[Row], key: str) -> float:
    spread = spread_of(row.get(key) for row in rows)
    return float("nan") if spread is None else spread.mean


def draw_flips() -> Figure:
    """Pairs x rules: the recall of the source class."""
    rows = rows_of("flips")
    pairs = sorted({pair_of(row) for row in rows})
    rules = rules_in(rows)
    title = "source recall (%) where 40 % flip one class; CIFAR-10, 10,000 images"
    figure, axes = panels([1, 1], len(pairs), title)
    for one, partition in zip(axes, ("iid", "dirichlet"), strict=True):
        own = select(rows, partition=partition)
        values = np.array([
            [mean_of([r for r in select(own, defense=rule) if pair_of(r) == pair],
                     "source_recall") for rule in rules]
            for pair in pairs
        ])  # fmt: skip
        matrix(one, values, pairs, rules, f"{partition}{' 1.0' * (partition != 'iid')}")
    return figure


def draw_fractions() -> Figure:
    """Rules and partitions x fractions: attackers found, and honest clients flagged."""
    rows = [r for r in rows_of("fractions") if not r["part"].startswith("no attack")]
    shares = sorted({str(row["attack.fraction"]) for row in rows}, key=float)
    settings = [("iid", None), ("dirichlet", "1.0"), ("dirichlet", "0.3")]
    lines = [(rule, *own) for own in settings for rule in ("lfighter", "class_mean", "class_rows")]
    names = [f"{rule}, {part} {alpha or ''}".strip() for rule, part, alpha in lines]
    figure, axes = panels(
        [1, 1], len(lines), "5 -> 3 by a share of 20 clients; CIFAR-10, 10,000 images"
    )
    heads = {"found": "attackers found (%)", "honest_flagged": "honest clients flagged (%)"}
    for one, (key, head) in zip(axes, heads.items(), strict=True):
        values = np.array([
            [mean_of(select(rows, defense=rule, partition=part, alpha=alpha,
                                   attack_fraction=share), key) for share in shares]
            for rule, part, alpha in lines
        ])  # fmt: skip
        matrix(one, values, names, [f"{float(s):.0%}" for s in shares], head)
    return figure


def draw_worst_case(partition: str) -> Figure:
    """Rules x attacks: accuracy, its worst, and what targeted attacks are about."""
    rows = select(rows_of("worst_case"), partition=partition)
    rules = rules_in(rows)
    title = f"{partition}: 4 of 20 clients attack; CIFAR-10, 20,000 images, 5 rounds, one seed"
    figure, (left, right) = panels([len(OF_C) + 2, 3], len(rules), title)
    of = {(r["defense"], r["part"]): r for r in rows}

    def figure_of(rule: str, part: str, key: str) -> float:
        row: dict[str, Any] = of.get((rule, part), {})
        value = 0.0 if "failed" in row else row.get(key)
        return float("nan") if value is None else float(value)

    accuracy = np.array([[figure_of(rule, part, "accuracy") for part in ("none", *OF_C)]
                         for rule in rules])  # fmt: skip
    worst = np.nanmin(accuracy[:, 1:], axis=1, keepdims=True)
    matrix(
        left, np.hstack([accuracy, worst]), rules, ["no attack", *OF_C, "worst"], "accuracy (%)", 40
    )
    own = [("label flip", "source_recall"), ("hidden flip", "source_recall"),
           ("backdoor", "backdoor_success_rate")]  # fmt: skip
    values = np.array([[figure_of(rule, *one) for one in own] for rule in rules])
    heads = ["recall, flip", "recall, hidden", "backdoor success"]
    matrix(right, values, rules, heads, "own measure (%)")
    return figure


def figures() -> Iterator[tuple[str, Figure]]:
    yield "flips", draw_flips()
    yield "fractions", draw_fractions()
    for partition in ("iid", "dirichlet"):
        yield f"worst_case_{partition}", draw_worst_case(partition)
