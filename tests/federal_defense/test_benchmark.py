"""The benchmark of defences: all cells, once each, as a table and a figure."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path
from typing import Any

import pytest

from federal_defense import benchmark
from federal_defense.benchmark_plan import read_plan
from federal_defense.benchmark_results import Spread, spread_of, text_of
from federal_defense.rules import DEFENSES
from tests.helpers import ROOT, TINY

CONFIG = ROOT / "configs" / "defence_benchmark.json"


def write_plan(folder: Path, data_path: Path, **keys: Any) -> Path:
    plan = json.loads(CONFIG.read_text())
    base = {**TINY, "data_path": str(data_path), "num_clients": 5, "eval_points": 0}
    plan |= {"base": base, "fractions": [0, 0.4], "partitions": ["iid"], "seeds": [0],
             "output_dir": str(folder / "out")} | keys  # fmt: skip
    path = folder / "plan.json"
    path.write_text(json.dumps(plan))
    return path


def test_the_projects_own_plan_has_every_cell_and_tells_rules_the_true_number() -> None:
    plan = read_plan(CONFIG)
    cells = list(plan.cells())
    assert len(cells) == len(set(cells)) == len(DEFENSES) * 3 * 2 * 2
    configs = {cell.defense: plan.config_of(cell) for cell in cells if cell.fraction == 0.4}
    assert configs["krum"]["defense"] == {"name": "krum", "f": 8}
    assert configs["trimmed_mean"]["defense"] == {"name": "trimmed_mean", "beta": 0.4}
    assert configs["lfighter"]["attack"]["fraction"] == 0.4


def test_seeds_become_a_mean_and_a_sample_standard_deviation() -> None:
    assert spread_of([1.0, 3.0]) == Spread(2.0, math.sqrt(2))
    assert text_of(spread_of([1.0, 3.0])) == "2.0 ± 1.4"
    assert text_of(spread_of([None, 3.0])) == "3.0"  # nobody was flagged under the other seed
    assert text_of(spread_of([None, None])) == "-"


@pytest.mark.slow
def test_it_runs_every_cell_once_and_goes_on_where_it_stopped(
    data_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = write_plan(tmp_path, data_path, defenses=["mean", "oracle"])
    assert benchmark.main([f"--config={path}"]) == 0
    text = capsys.readouterr().out
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    assert [line.split("`")[1] for line in lines] == ["mean", "oracle"] * 2
    attacked = lines[3].split(" | ")
    assert attacked[4:] == ["100.0", "100.0", "0.0 |"]  # the oracle finds all, and nobody else
    assert (tmp_path / "out" / "benchmark.png").read_bytes().startswith(b"\x89PNG")
    assert text.startswith((tmp_path / "out" / "benchmark.md").read_text())
    monkeypatch.setattr(subprocess, "run", pytest.fail)
    assert benchmark.main([f"--config={path}"]) == 0
    capsys.readouterr()
    path = write_plan(tmp_path, data_path, defenses=["mean", "oracle"], attack={"name": "scaling"})
    assert benchmark.main([f"--config={path}"]) == 2
    assert "is of another plan; must be a new folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"seeds": ["x"]}, "seeds: got"),
        ({"fractions": [2]}, "fractions: got"),
        ({"base": {"type": "cifar"}}, "base.num_clients: got null"),
        ({"defenses": ["mean", "krumm"]}, 'unknown key "krumm"; did you mean "krum"'),
        ({"sedes": [1]}, 'unknown key "sedes"; did you mean "seeds"'),
    ],
)
def test_a_wrong_plan_is_one_line(
    keys: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_plan(tmp_path, tmp_path, **keys)
    assert benchmark.main([f"--config={path}"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {path}: ")
    assert message in err
    assert len(err.splitlines()) == 1


def test_a_run_that_fails_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_plan(tmp_path, tmp_path, base={"num_clients": 5, "type": "nothing"})
    assert benchmark.main([f"--config={path}"]) == 1
    err = capsys.readouterr().err
    assert err.splitlines()[-1].startswith("error: iid_0_mean_0: ")
    assert 'type: got "nothing"' in err
