"""The plan of a benchmark: its cells, their order, and what each rule is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from extra_utils.basics.errors import ConfigError
from federal_defense.benchmark.plan import Plan, read_plan

PLAN: dict[str, Any] = {
    "base": {"type": "synthetic", "num_clients": 5},
    "attack": {"name": "label_flip"},
    "fractions": [0, 0.4],
    "partitions": ["iid", "shards"],
    "seeds": [7, 3],
    "defenses": ["mean", "krum"],
    "output_dir": "out",
}


def read(folder: Path, **keys: Any) -> Plan:
    (folder / "plan.json").write_text(json.dumps(PLAN | keys))
    return read_plan(folder / "plan.json")


def test_cells_come_seed_by_seed_and_without_those_that_are_refused(tmp_path: Path) -> None:
    plan = read(tmp_path)
    assert plan.output_dir == Path("out")
    assert plan.settings() == [("iid", 0), ("iid", 0.4), ("shards", 0), ("shards", 0.4)]
    own = ["iid_0_mean", "iid_0_krum", "iid_0.4_mean", "shards_0_mean", "shards_0_krum"]
    own += ["shards_0.4_mean"]
    assert [cell.name for cell in plan.cells()] == [f"{name}_{s}" for s in (7, 3) for name in own]
    assert plan.refused == {(0.4, "krum"): "krum needs n >= 2f+3, got n=5, f=2"}


def test_each_run_is_the_base_with_the_cells_own(tmp_path: Path) -> None:
    plan = read(tmp_path, defenses=["mean", "krum", "multi_krum", "trimmed_mean"], fractions=[0.2])
    configs = {cell.defense: plan.config_of(cell) for cell in plan.cells()[:4]}
    assert configs["mean"] == {
        "type": "synthetic",
        "num_clients": 5,
        "name": "iid_0.2_mean_7",
        "partition": "iid",
        "seed": 7,
        "attack": {"name": "label_flip", "fraction": 0.2},
        "defense": {"name": "mean"},
    }
    assert configs["krum"]["defense"] == {"name": "krum", "f": 1}
    assert configs["multi_krum"]["defense"] == {"name": "multi_krum", "f": 1}
    assert configs["trimmed_mean"]["defense"] == {"name": "trimmed_mean", "beta": 0.2}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"fractions": [0.1]}, "0.1 of 5 clients is nobody"),  # a half is rounded to even: 0
        ({"seeds": []}, "seeds: got .*, must be one or more, each once"),
        ({"partitions": []}, "partitions: got .*, must be one or more, each once"),
        ({"defenses": ["mean", "mean"]}, "defenses: got .*, must be one or more, each once"),
        ({"base": {"type": "synthetic", "num_clients": 0}}, "base.num_clients: got 0"),
        ({"base": PLAN["base"] | {"clients_per_round": 2}}, "base.clients_per_round: must not"),
        ({"base": PLAN["base"] | {"syncBN": True, "world_size": 1}}, "syncBN: got true"),
    ],
)
def test_what_a_plan_must_not_have(keys: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, **keys)


def test_what_a_plan_may_have(tmp_path: Path) -> None:
    assert read(tmp_path, fractions=[0.11]).num_attackers(0.11) == 1
    alone = {"type": "synthetic", "num_clients": 1}
    plan = read(tmp_path, base=alone, fractions=[1.0], defenses=["mean"], comment="so")
    assert plan.num_attackers(1.0) == 1


@pytest.mark.parametrize("key", sorted(PLAN.keys() - {"defenses"}))
def test_a_plan_that_lacks_a_key_is_refused(key: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({name: value for name, value in PLAN.items() if name != key}))
    with pytest.raises(ConfigError, match=f"{key}: is missing"):
        read_plan(path)
