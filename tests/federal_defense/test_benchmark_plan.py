"""The plan of a benchmark: where each run's figures stand, and what each rule is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from extra_utils.basics.errors import ConfigError
from extra_utils.config.reader import parse_arguments, read_choice
from extra_utils.config.sweep import read_sweep
from federal_defense.benchmark import Plan, make_plan
from federal_defense.rules.table import DEFENSES, TABLES
from tests.helpers import ROOT

CONFIG = ROOT / "configs" / "defence_benchmark.json"
FLIP = {"name": "label_flip", "fraction": 0}
SWEPT: dict[str, Any] = {
    "seed": [7, 3],
    "partition": ["iid", "shards"],
    "attack.fraction": [0, 0.4],
    "defense.name": ["mean", "krum"],
}


def make(path: Path, *options: str) -> Plan:
    sweep = read_sweep(parse_arguments([f"--config={path}", *options]))
    assert sweep is not None
    return make_plan(sweep)


def plan_of(folder: Path, swept: dict[str, Any] = SWEPT, **keys: Any) -> Plan:
    path = folder / "plan.json"
    base = {"type": "synthetic", "num_clients": 5, "attack": FLIP} | keys
    path.write_text(json.dumps(base | {"sweep": swept}))
    return make(path)


def tables_of(plan: Plan) -> list[str]:
    return list(plan.tables)


def rules_of(plan: Plan) -> list[str]:
    return list(dict.fromkeys(rule for rules in plan.tables.values() for rule in rules))


def runs_of(plan: Plan) -> list[str]:
    """The names of all runs, those that are refused as well."""
    return [name for rules in plan.tables.values() for own in rules.values() for name in own]


def defenses(plan: Plan) -> dict[str, Any]:
    """By run, the rule's parameters as main.py reads them."""
    return {
        name: read_choice(plan.sweep.path, choice, plan.sweep.where, TABLES)[0].defense.parameters
        for name, choice, _ in plan.sweep.combinations
    }


def test_the_projects_own_plan_has_every_cell_and_tells_rules_the_true_number() -> None:
    plan = make(CONFIG)
    assert len(set(runs_of(plan))) == 12 * 3 * 2 * 2
    others = {"bulyan", "centered_clipping", "fltrust", "rlr", "class_rows"}
    assert set(rules_of(plan)) == set(DEFENSES) - others
    assert plan.refused == {}
    found, place = defenses(plan), "partition=iid,attack.fraction={},defense={},seed=0"
    for fraction, number in (("0", 0), ("0.1", 2), ("0.4", 8)):
        assert found[place.format(fraction, "krum")] == {"f": number}
        assert found[place.format(fraction, "multi_krum")] == {"f": number, "m": None}
        assert found[place.format(fraction, "trimmed_mean")] == {"beta": number / 20}
    assert found[place.format("0.4", "median")] == {}


def test_each_run_has_its_table_and_row_and_what_is_refused_is_not_run(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    both = [(part, share) for part in ("iid", "shards") for share in (0, 0.4)]
    titles = [f"partition={part}, attack.fraction={share}" for part, share in both]
    assert tables_of(plan) == titles
    assert rules_of(plan) == ["mean", "krum"]
    reason = "krum needs n >= 2f+3, got n=5, f=2"
    assert plan.refused == {(titles[1], "krum"): reason, (titles[3], "krum"): reason}
    ran = [combination.name for combination in plan.sweep.combinations]
    forbidden = {name for title, rule in plan.refused for name in plan.tables[title][rule]}
    assert set(ran) == set(runs_of(plan)) - forbidden
    assert len(forbidden) == 4
    assert len(ran) == 12
    assert ran[0] == "partition=iid,attack.fraction=0,defense=mean,seed=7"


def test_attackers_that_are_named_are_counted_and_other_keys_are_titles(tmp_path: Path) -> None:
    swept = {"lr": [0.1, 0.2], "defense": [{"name": "krum"}, {"name": "trimmed_mean"}]}
    plan = plan_of(tmp_path, swept, attack={"name": "label_flip", "clients": [1]})
    assert (tables_of(plan), rules_of(plan)) == (["lr=0.1", "lr=0.2"], ["krum", "trimmed_mean"])
    assert defenses(plan)["lr=0.1,defense=krum"] == {"f": 1}
    assert defenses(plan)["lr=0.1,defense=trimmed_mean"] == {"beta": 0.2}
    clean = plan_of(tmp_path, {"defense.name": ["mean", "krum"]}, attack=None)
    assert (tables_of(clean), rules_of(clean)) == (["plan"], ["mean", "krum"])
    assert defenses(clean)["defense=krum"] == {"f": 0}


def test_a_plan_of_which_all_is_refused_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="every rule refuses every setting: krum needs n >= "):
        plan_of(tmp_path, {"seed": [0, 1], "defense.name": ["krum"]}, num_clients=2)
