"""The benchmark's tables and figure, against hand-made figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from extra_utils.basics.spread import Spread
from extra_utils.config.sweep import Sweep
from federal_defense.benchmark.plan import Cell, Plan
from federal_defense.benchmark.results import COLUMNS, Figures, Results, draw, tables

TITLES = [
    f"{partition}, {attack}"
    for partition in ("iid", "dirichlet")
    for attack in ("no attack", "4 of 10 attack")
]
SWEEP = Sweep(Path("plan.json"), {}, {}, [])
CELLS = [
    Cell(f"{title} {rule}", title, rule, "krum needs more" * (rule == "krum" and "4 of" in title))
    for title in TITLES
    for rule in ("mean", "krum", "oracle")
]
PLAN = Plan(SWEEP, CELLS, {TITLES[1]: TITLES[0], TITLES[3]: TITLES[2]})


def make_figures(start: float) -> Figures:
    """By column start, start + 1 and so on, with a deviation of a tenth of each."""
    return {key: Spread(start + n, (start + n) / 10, 2) for n, key in enumerate(COLUMNS)}


RESULTS: Results = {
    ("iid, no attack", "mean"): make_figures(10),
    ("iid, 4 of 10 attack", "mean"): make_figures(20),
    ("iid, 4 of 10 attack", "oracle"): make_figures(30),
    ("dirichlet, 4 of 10 attack", "oracle"): make_figures(40),
}


def test_each_figure_stands_under_its_heading() -> None:
    clean, attacked, _, unequal = (table.splitlines() for table in tables(PLAN, RESULTS))
    heads = [text.split(" %")[0] for text in COLUMNS.values()]
    assert heads[:3] == ["accuracy", "source recall", "attack success"]
    assert heads[3:] == ["attackers found", "flags that are right", "honest clients flagged"]
    titles = ["iid, no attack", *(COLUMNS[k] for k in COLUMNS if k not in ("recall", "precision"))]
    assert clean[0] == f"| {' | '.join(titles)} |"
    assert clean[1].count("---") == 5
    assert clean[2] == "| `mean` | 10.0 ± 1.0 | 11.0 ± 1.1 | 12.0 ± 1.2 | 15.0 ± 1.5 |"
    assert clean[3] == "| `krum` | not run to its end |  |  |  |"
    assert attacked[0] == f"| iid, 4 of 10 attack | {' | '.join(COLUMNS.values())} |"
    row = " | ".join(f"{n}.0 ± {n / 10:.1f}" for n in range(30, 36))
    assert attacked[4] == f"| `oracle` | {row} |"
    assert attacked[3] == "| `krum` | krum needs more |  |  |  |  |  |"
    assert unequal[0].startswith("| dirichlet, 4 of 10 attack | ")
    assert unequal[4].startswith("| `oracle` | 40.0 ± 4.0 | 41.0 ± 4.1 | ")


def points_of(axes: Axes) -> dict[str, list[list[float]]]:
    """By name: the point, and the ends of its error bars along x and along y."""
    found = {}
    for container in axes.containers:
        line, _, bars = container
        ends = [np.asarray(bar.get_segments()[0]) for bar in bars]
        point = [float(line.get_xdata()[0]), float(line.get_ydata()[0])]
        found[str(container.get_label())] = [point, ends[0][:, 0].tolist(), ends[1][:, 1].tolist()]
    return found


def test_the_figure_has_recall_to_the_right_and_accuracy_upwards_with_error_bars() -> None:
    figure = draw(PLAN, RESULTS, "animals")
    iid, dirichlet = figure.axes
    assert (iid.get_xlabel(), iid.get_ylabel()) == ("source recall (%)", "accuracy (%)")
    assert [axes.get_title() for axes in figure.axes] == [
        "iid, 4 of 10 attack",
        "dirichlet, 4 of 10 attack",
    ]
    shown = points_of(iid)
    assert set(shown) == {"mean, no attack", "mean", "oracle"}
    assert np.allclose(shown["mean, no attack"][0], [11, 10])
    assert np.allclose(shown["mean"][0], [21, 20])
    assert np.allclose(shown["mean"][1], [21 - 2.1, 21 + 2.1])
    assert np.allclose(shown["mean"][2], [20 - 2, 20 + 2])
    assert np.allclose(points_of(dirichlet)["oracle"][0], [41, 40])


def test_panels_stand_two_in_a_row_and_a_plan_without_attack_has_none() -> None:
    assert draw(PLAN, RESULTS, "animals").get_size_inches().tolist() == [2 * 5 + 1.5, 4]
    more = [Cell(f"{n}", f"{n} attack", "mean") for n in range(3)]
    three = draw(Plan(SWEEP, more, {cell.table: "clean" for cell in more}), {}, "animals")
    assert three.get_size_inches().tolist() == [2 * 5 + 1.5, 2 * 4]
    places = [axes.get_subplotspec() for axes in three.axes]
    assert [place and place.get_topmost_subplotspec().num1 for place in places] == [0, 1, 2]
    alone = [cell for cell in CELLS if "no attack" in cell.table]
    clean = draw(Plan(SWEEP, alone, {"x": "iid, no attack", "y": "dirichlet, no attack"}), {}, "a")
    assert not clean.axes
    assert clean.get_size_inches().tolist() == [5 + 1.5, 4]
