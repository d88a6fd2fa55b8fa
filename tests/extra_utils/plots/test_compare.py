"""Several runs in one figure and one table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from extra_utils.plots.__main__ import main
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
    assert f"| clean | 2 | {accuracy:.2f} |" in out
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
    assert labels == ["tiny (attacked), 2 seeds", "tiny (clean)"]
