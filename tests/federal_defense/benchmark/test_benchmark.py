"""The benchmark of defences: all cells, once each, as a table and a figure."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path
from typing import Any

import pytest

from extra_utils.plots.run_data import read_run
from federal_defense.benchmark import __main__ as benchmark
from federal_defense.benchmark.plan import read_plan
from federal_defense.benchmark.results import Spread, figures_of, spread_of, text_of
from federal_defense.rules.table import DEFENSES
from tests.helpers import ROOT, TINY

CONFIG = ROOT / "configs" / "defence_benchmark.json"


def write_plan(folder: Path, data_path: Path, **keys: Any) -> Path:
    plan = json.loads(CONFIG.read_text())
    base = {**TINY, "data_path": str(data_path), "num_clients": 5, "eval_points": 0}
    plan |= {
        "base": base,
        "fractions": [0, 0.4],
        "partitions": ["iid"],
        "seeds": [0],
        "output_dir": str(folder / "out"),
    } | keys
    path = folder / "plan.json"
    path.write_text(json.dumps(plan))
    return path


def test_the_projects_own_plan_has_every_cell_and_tells_rules_the_true_number() -> None:
    plan = read_plan(CONFIG)
    cells = list(plan.cells())
    assert len(cells) == len(set(cells)) == len(DEFENSES) * 3 * 2 * 2
    configs = {cell.defense: plan.config_of(cell) for cell in cells if cell.fraction == 0.4}
    assert configs["krum"]["defense"] == {"name": "krum", "f": 8}
    assert configs["multi_krum"]["defense"] == {"name": "multi_krum", "f": 8}
    assert configs["trimmed_mean"]["defense"] == {"name": "trimmed_mean", "beta": 0.4}
    assert configs["lfighter"]["attack"]["fraction"] == 0.4


def test_seeds_become_a_mean_and_a_sample_standard_deviation() -> None:
    assert spread_of([1.0, 3.0]) == Spread(2.0, math.sqrt(2))
    assert text_of(spread_of([1.0, 3.0])) == "2.0 ± 1.4"
    assert text_of(spread_of([None, 3.0])) == "3.0"  # nobody was flagged under the other seed
    assert text_of(spread_of([None, None])) == "-"


def write_run(folder: Path, rows: list[dict[str, Any]]) -> None:
    folder.mkdir(parents=True)
    folder.joinpath("metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_runs_figures_are_those_of_its_last_rounds(tmp_path: Path) -> None:
    base = {"kind": "client", "num_samples": 9, "weight": 0.2, "train_loss": 1.0, "class_mean": [0]}
    flags = {1: [0, 1, 2, 3, 4], 2: [4], 3: [4, 3], 4: []}  # whom the rule left out, by round
    rows = [
        {**base, "round": r, "client": c, "attacker": c == 4, "flagged": c in flags[r]}
        for r in flags
        for c in range(5)
    ]
    summary = {
        "kind": "summary",
        "accuracy": 50.0,
        "loss": 1.0,
        "source_recall": 40.0,
        "attack_success_rate": 3.0,
        "backdoor_success_rate": None,
        "detection": {"precision": 75.0, "recall": 66.6},
        "confusion_matrix": [[1]],
    }
    run = {
        "kind": "run",
        "dataset": "d",
        "synthetic": False,
        "class_names": ["a"],
        "class_counts": [[9]] * 5,
    }
    write_run(tmp_path / "run", [run, *rows, summary])
    assert figures_of(read_run(tmp_path / "run")) == {
        "accuracy": 50.0,
        "source_recall": 40.0,
        "attack_success_rate": 3.0,
        "precision": 75.0,
        "recall": 66.6,
        "flagged": pytest.approx(100 / 12),
    }


def test_a_rule_that_refuses_the_number_of_attackers_is_named_and_not_run(tmp_path: Path) -> None:
    path = write_plan(tmp_path, tmp_path, defenses=["krum", "median"])
    plan = read_plan(path)
    assert plan.refused == {(0.4, "krum"): "krum needs n >= 2f+3, got n=5, f=2"}
    names = [cell.name for cell in plan.cells()]
    assert names == ["iid_0_krum_0", "iid_0_median_0", "iid_0.4_median_0"]


def test_a_cell_that_was_begun_goes_on_and_one_that_is_done_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = read_plan(write_plan(tmp_path, tmp_path, defenses=["mean"], fractions=[0]))
    (cell,) = plan.cells()
    folder, config = plan.output_dir / cell.name, plan.output_dir / f"{cell.name}.json"
    started = []

    def start(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        started.append(command[2:])
        return subprocess.CompletedProcess(command, 1, "", "note\nerror: no room\n")

    monkeypatch.setattr(subprocess, "run", start)
    plan.output_dir.mkdir()
    assert benchmark.run_cell(plan, cell) == f"{cell.name}: no room"
    folder.mkdir()
    (folder / "config.json").touch()
    benchmark.run_cell(plan, cell)
    for name in ("model.pth", "samples.png"):
        (folder / name).touch()
    assert benchmark.run_cell(plan, cell) == ""
    new = [f"--config={config}", f"--run_dir={folder}"]
    assert started == [new, [f"--resume={folder}"]]


@pytest.mark.slow
def test_it_runs_every_cell_once_and_goes_on_where_it_stopped(
    data_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write_plan(tmp_path, data_path, defenses=["mean", "krum", "oracle"])
    assert benchmark.main([f"--config={path}"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("SYNTHETIC images: model_name net, num_clients 5, num_train 300, ")
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    assert [line.split("`")[1] for line in lines] == ["mean", "krum", "oracle"] * 2
    assert lines[4].startswith("| `krum` | krum needs n >= 2f+3, got n=5, f=2 |")
    attacked = lines[5].split(" | ")
    assert attacked[4:] == ["100.0", "100.0", "0.0 |"]  # the oracle finds all, and nobody else
    assert (tmp_path / "out" / "benchmark.png").read_bytes().startswith(b"\x89PNG")
    assert text.startswith((tmp_path / "out" / "benchmark.md").read_text())
    monkeypatch.setattr(subprocess, "run", pytest.fail)
    assert benchmark.main([f"--config={path}"]) == 0
    capsys.readouterr()
    path = write_plan(tmp_path, data_path, defenses=["mean", "oracle"], attack={"name": "scaling"})
    assert benchmark.main([f"--config={path}"]) == 2
    out, err = capsys.readouterr()
    assert "is of another plan; must be a new folder" in err
    assert not out  # another plan's figures are not this one's


@pytest.mark.slow
def test_a_run_that_ends_early_is_named_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = {**TINY, "type": "synthetic", "num_clients": 5, "eval_points": 0}
    attack = {"name": "gaussian", "sigma": 1e6}
    path = write_plan(
        tmp_path,
        tmp_path,
        base=base,
        attack=attack,
        defenses=["median", "mean"],
        fractions=[0.4, 0],
    )
    assert benchmark.main([f"--config={path}"]) == 1
    out, err = capsys.readouterr()
    assert "error: iid_0.4_median_0: " in err
    assert "client 1's attack is too large" in err
    assert "SYNTHETIC" in out.splitlines()[0]
    lines = [line for line in out.splitlines() if line.startswith("| `")]
    assert ["not run to its end" in line for line in lines] == [True, True, False, False]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"seeds": ["x"]}, "seeds: got"),
        ({"fractions": [2]}, "fractions: got"),
        ({"base": {"type": "cifar"}}, "base.num_clients: got null"),
        ({"defenses": ["mean", "krumm"]}, 'unknown key "krumm"; did you mean "krum"'),
        ({"sedes": [1]}, 'unknown key "sedes"; did you mean "seeds"'),
        ({"seeds": [0, 0]}, "seeds: got [0, 0], must be one or more, each once"),
        ({"partitions": ["iid", "dirichlt"]}, 'partition: got "dirichlt", must be one of'),
        ({"fractions": [0, 0.05]}, "fractions: got 0.05, must be larger: 0.05 of 5 clients is"),
        ({"attack": {"name": "label_flop"}}, 'attack.name: got "label_flop", must be one of'),
        ({"base": {"type": "cifar", "num_clients": 5, "seed": 3}}, "base.seed: must not be there"),
        (
            {"base": {"type": "cifar", "num_clients": 5, "lrr": 3}},
            'unknown key "lrr"; did you mean',
        ),
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


def test_data_that_are_not_there_end_the_benchmark_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = {"num_clients": 5, "type": "folder", "data_path": str(tmp_path / "nowhere")}
    path = write_plan(tmp_path, tmp_path, base=base)
    assert benchmark.main([f"--config={path}"]) == 2
    err = capsys.readouterr().err
    assert err.splitlines()[-1].startswith("error: iid_0_mean_0: ")
    assert "nowhere" in err
