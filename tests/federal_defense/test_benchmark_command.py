"""The benchmark of defences as a command: a sweep, whose runs become tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from extra_utils.plots.comparison import figures_of
from extra_utils.plots.run_data import read_run
from tests.helpers import TINY, run_module, write_config

MODULE = "federal_defense.benchmark"
RULES = ("| mean", "| krum", "| oracle", "| median")


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
        "loss": 1.0,
        "source_recall": 40.0,
        "attack_success_rate": 3.0,
        "precision": 75.0,
        "recall": 66.6,
        "flagged": pytest.approx(100 / 12),
    }


def test_it_runs_every_cell_once_and_goes_on_where_it_stopped(
    data_path: Path, tmp_path: Path
) -> None:
    swept = {"attack.fraction": [0, 0.4], "defense.name": ["mean", "krum", "oracle"]}
    attack = {"name": "label_flip", "fraction": 0}
    keys = {"num_clients": 5, "eval_points": 0, "attack": attack, "sweep": swept}
    config = write_config(tmp_path, data_path=str(data_path), **keys)
    command = [MODULE, f"--config={config}", f"--run_dir={tmp_path / 'out'}"]
    done = run_module(*command, timeout=120)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "out" / "benchmark.md").read_text()
    assert text in done.stdout
    assert text.startswith("SYNTHETIC images: ")
    assert "Means of the last 3 rounds, over n seeds" in text
    lines = [line for line in text.splitlines() if line.startswith(RULES)]
    assert [line.split(" | ")[0][2:] for line in lines] == ["mean", "krum", "oracle"] * 2
    assert lines[4].startswith("| krum | krum needs n >= 2f+3, got n=5, f=2 |")
    attacked = lines[5].split(" | ")
    assert attacked[-3:] == ["100.0", "100.0", "0.0 |"]  # the oracle finds all, and nobody else
    assert len(list((tmp_path / "out").glob("*/model.pth"))) == 5
    again = run_module(*command, timeout=120)
    assert again.returncode == 0, again.stderr
    assert "run 1/5" in done.stdout
    assert "run 1/5" not in again.stdout
    assert text in again.stdout


@pytest.mark.slow
def test_a_run_that_ends_early_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    swept = {"attack.fraction": [0.4, 0], "defense.name": ["median", "mean"]}
    attack = {"name": "gaussian", "sigma": 1e6, "fraction": 0}
    keys = {"type": "synthetic", "num_clients": 5, "eval_points": 0}
    config = write_config(tmp_path, **(TINY | keys | {"attack": attack, "sweep": swept}))
    done = run_module(MODULE, f"--config={config}", f"--run_dir={tmp_path / 'o'}", timeout=120)
    assert done.returncode == 1
    assert "error: attack.fraction=0.4,defense=median: " in done.stderr
    assert "client 0 diverged" in done.stderr  # the first of one process
    text = (tmp_path / "o" / "benchmark.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith(RULES)]
    assert ["not run to its end" in line for line in lines] == [True, True, False, False]


def test_one_run_is_no_benchmark(tmp_path: Path) -> None:
    done = run_module(MODULE, f"--config={write_config(tmp_path)}", timeout=60)
    assert done.returncode == 2
    assert done.stderr == "error: command line: config: must be a sweep, with lists of values\n"


def test_data_that_are_not_there_end_the_benchmark_at_once(tmp_path: Path) -> None:
    place = {"type": "folder", "data_path": str(tmp_path / "nowhere"), "num_train": None}
    config = write_config(tmp_path, **place, sweep={"defense.name": ["mean", "oracle"]})
    done = run_module(MODULE, f"--config={config}", f"--run_dir={tmp_path / 'o'}", timeout=60)
    assert done.returncode == 2
    assert "nowhere" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "o").exists()
