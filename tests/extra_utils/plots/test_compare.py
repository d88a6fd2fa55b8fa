"""Several runs in one figure and one table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from extra_utils.plots.__main__ import main
from extra_utils.plots.comparison import Group, as_json, cells
from extra_utils.plots.run_data import RunData
from tests.extra_utils.plots.conftest import Shown, copy_run


def test_several_runs_are_compared(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], shown: Shown
) -> None:
    runs = [
        copy_run(finished_run, tmp_path / "a", name="clean"),
        copy_run(finished_run, tmp_path / "b", name="clean", seed=1),
        copy_run(finished_run, tmp_path / "c", name="attacked"),
    ]
    assert main([str(run) for run in runs]) == 0
    out = capsys.readouterr().out
    accuracy = json.loads((runs[0] / "metrics.jsonl").read_text().splitlines()[-1])["accuracy"]
    assert f"| clean | 2 | {accuracy:.1f} ± 0.0 |" in out
    assert f"comparison: {tmp_path / 'comparison.png'}" in out
    labels = [line.get_label() for line in shown.figures["comparison.png"].axes[0].get_lines()]
    assert labels == ["clean, 2 seeds", "attacked"]


def test_runs_of_one_name_and_two_settings_are_two_curves(
    finished_run: Path, tmp_path: Path, shown: Shown
) -> None:
    attack = json.loads((finished_run / "config.json").read_text())["attack"]
    runs = [
        copy_run(finished_run, tmp_path / "attacked"),
        copy_run(finished_run, tmp_path / "clean", attack={**attack, "clients": []}),
        copy_run(finished_run, tmp_path / "seed1", seed=1, attack={**attack, "clients": [0]}),
    ]
    assert main([str(run) for run in runs]) == 0
    labels = [line.get_label() for line in shown.figures["comparison.png"].axes[0].get_lines()]
    assert labels == ["tiny, 2 seeds", "tiny (clean)"]


def make_group(name: str, accuracies: dict[int, float], **choice: str) -> Group:
    """Runs with these accuracies by seed."""
    runs = [
        RunData(Path(f"{name}{seed}"), {"seed": seed}, {}, [], [], [],
                {"accuracy": value, "loss": None, "source_recall": value / 2,
                 "attack_success_rate": None})
        for seed, value in accuracies.items()
    ]  # fmt: skip
    return Group(name, runs, choice)


def test_differences_are_of_the_same_seed_and_to_the_baseline_beside_it() -> None:
    groups = [
        make_group("a", {0: 50.0, 1: 60.0, 2: 70.0}, defense="mean", lr="1"),
        make_group("b", {2: 73.0, 0: 51.0, 9: 99.0, 1: 62.0}, defense="krum", lr="1"),
        make_group("c", {0: 10.0}, defense="mean", lr="2"),
        make_group("d", {0: 7.0}, defense="krum", lr="2"),
        make_group("e", {0: 7.0}, defense="krum", lr="3"),
    ]
    (head, *rows) = cells(groups, ("defense", "mean"))
    assert head[-2:] == ["accuracy % less defense=mean", "source recall % less defense=mean"]
    assert [row[0] for row in rows] == list("abcde")
    assert [row[1] for row in rows] == ["3", "4", "1", "1", "1"]
    assert [row[-2] for row in rows] == [
        "-", "+2.0 ± 2.5 (n = 3)", "-", "-3.0 (n = 1)", "-",
    ]  # fmt: skip
    assert [row[-1] for row in rows][:2] == ["-", "+1.0 ± 1.2 (n = 3)"]
    assert rows[0][2:6] == ["60.0 ± 10.0", "30.0 ± 5.0", "-", "-"]


def test_without_a_baseline_there_are_no_differences() -> None:
    (head, row) = cells([make_group("a", {0: 50.0})], None)
    assert len(head) == len(row) == 4
    found = as_json([make_group("a", {0: 50.0})], None)
    assert found["baseline"] is None
    assert found["rows"][0]["accuracy"] == {"mean": 50.0, "deviation": None, "n": 1}
