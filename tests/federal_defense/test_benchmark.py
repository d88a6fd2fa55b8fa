"""The benchmark's tables, against hand-made figures."""

from __future__ import annotations

from pathlib import Path

from extra_utils.config.sweep import Sweep
from extra_utils.plots.comparison import Group
from extra_utils.plots.run_data import RunData
from federal_defense.benchmark import Groups, Plan, tables

TITLES = [
    f"{partition}, {attack}"
    for partition in ("iid", "dirichlet")
    for attack in ("no attack", "4 of 10 attack")
]
SWEEP = Sweep(Path("plan.json"), {}, {}, [])
RULES = ("mean", "krum", "oracle")
TABLES = {title: {rule: [f"{title} {rule}"] for rule in RULES} for title in TITLES}
REFUSED = {(title, "krum"): "krum needs more" for title in TITLES if "4 of" in title}
PLAN = Plan(SWEEP, TABLES, REFUSED)


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
