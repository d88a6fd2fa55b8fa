"""The benchmark's tables and figure, against hand-made figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes

from extra_utils.config.sweep import Sweep
from extra_utils.plots import style
from extra_utils.plots.comparison import Group
from extra_utils.plots.run_data import RunData
from federal_defense.benchmark import PANEL, Groups, Plan, draw, tables

TITLES = [
    f"{partition}, {attack}"
    for partition in ("iid", "dirichlet")
    for attack in ("no attack", "4 of 10 attack")
]
SWEEP = Sweep(Path("plan.json"), {}, {}, [])
RULES = ("mean", "krum", "oracle")
TABLES = {title: {rule: [f"{title} {rule}"] for rule in RULES} for title in TITLES}
REFUSED = {(title, "krum"): "krum needs more" for title in TITLES if "4 of" in title}
PLAN = Plan(SWEEP, TABLES, REFUSED, {TITLES[1]: TITLES[0], TITLES[3]: TITLES[2]})


KEYS = ("accuracy", "source_recall", "attack_success_rate")


def make_run(start: float, sign: int, is_attacked: bool) -> RunData:
    """By key start, start + 1 and so on, and by sign 1, 2 and so on more; one in two is flagged."""
    found = {key: start + n + sign * (n + 1) for n, key in enumerate(KEYS)}
    detection = {"recall": start + 4.0 if is_attacked else None, "precision": start + 5.0}
    clients = [{"round": 1, "client": c, "attacker": False, "flagged": c > 0} for c in (0, 1)]
    summary = found | {"loss": start + 9 + 0.04 * sign, "detection": detection}
    return RunData(Path(), {}, {}, [], clients, [], summary)


def make_group(rule: str, start: float, *, is_attacked: bool = True) -> Group:
    """Means are start + n, and deviations sqrt(2) x (n + 1)."""
    return Group(rule, [make_run(start, sign, is_attacked) for sign in (-1, 1)], {})


GROUPS: Groups = {
    (TITLES[0], "mean"): make_group("mean", 10, is_attacked=False),
    (TITLES[1], "mean"): make_group("mean", 20),
    (TITLES[1], "oracle"): make_group("oracle", 30),
    (TITLES[3], "oracle"): make_group("oracle", 40),
}


def test_each_figure_stands_under_its_heading() -> None:
    clean, attacked, _, unequal = (table.splitlines() for table in tables(PLAN, GROUPS))
    heads = ["accuracy %", "loss", "source recall %", "attack success %", "attackers found %",
             "flags that are right %", "honest clients flagged %"]  # fmt: skip
    without = [head for head in heads if "attackers" not in head and "right" not in head]
    assert clean[0] == f"| iid, no attack | n | {' | '.join(without)} |"
    assert clean[1].count("---") == 7
    figures = "2 | 10.0 ± 1.4 | 19.00 ± 0.06 | 11.0 ± 2.8 | 12.0 ± 4.2 | 50.0 ± 0.0"
    assert clean[2] == f"| mean | {figures} |"
    assert clean[3] == "| krum | not run to its end |  |  |  |  |  |"
    assert attacked[0] == f"| iid, 4 of 10 attack | n | {' | '.join(heads)} |"
    figures = "2 | 30.0 ± 1.4 | 39.00 ± 0.06 | 31.0 ± 2.8 | 32.0 ± 4.2 | 34.0 ± 0.0 | 35.0 ± 0.0"
    assert attacked[4] == f"| oracle | {figures} | 50.0 ± 0.0 |"
    assert attacked[3] == "| krum | krum needs more |  |  |  |  |  |  |  |"
    assert unequal[0].startswith("| dirichlet, 4 of 10 attack | n | ")
    assert unequal[4].startswith("| oracle | 2 | 40.0 ± 1.4 | 49.00 ± 0.06 | 41.0 ± 2.8 | ")


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
    figure = draw(PLAN, GROUPS, "animals", "krum · 10 rounds")
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
    assert np.allclose(shown["mean"][1], [21 - 2 * 2**0.5, 21 + 2 * 2**0.5])
    assert np.allclose(shown["mean"][2], [20 - 2**0.5, 20 + 2**0.5])
    assert np.allclose(points_of(dirichlet)["oracle"][0], [41, 40])


def test_panels_stand_two_in_a_row_and_a_plan_without_attack_has_none() -> None:
    two = draw(PLAN, GROUPS, "animals", "s")
    more = {f"{n} attack": {"mean": [f"{n}"]} for n in range(3)}
    three = draw(Plan(SWEEP, more, {}, dict.fromkeys(more, "clean")), {}, "animals", "s")
    assert two.get_figwidth() == three.get_figwidth() == style.WIDTH
    assert three.get_figheight() - two.get_figheight() == pytest.approx(PANEL)
    places = [axes.get_subplotspec() for axes in three.axes]
    assert [place and place.get_topmost_subplotspec().num1 for place in places] == [0, 1, 2]
    alone = {title: rules for title, rules in TABLES.items() if "no attack" in title}
    clean = draw(Plan(SWEEP, alone, {}, {}), {}, "animals", "s")
    assert not clean.axes
    assert clean.get_figheight() == pytest.approx(two.get_figheight())


def test_the_legend_and_the_title_have_room_of_their_own() -> None:
    figure = draw(PLAN, GROUPS, "animals", "krum · 10 rounds")
    figure.draw_without_rendering()
    title, setting = figure.texts
    assert title.get_text() == "animals: every rule in every attacked setting"
    assert setting.get_text() == "krum · 10 rounds"
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["mean, no attack", "mean", "oracle"]
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    assert all(box and legend.get_window_extent().y1 <= box.y0 for box in boxes)
    assert all(box and box.y1 <= setting.get_window_extent().y0 for box in boxes)
    assert setting.get_window_extent().y1 <= title.get_window_extent().y0 + 1
