"""Pictures are drawn from a run's folder alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from extra_utils.plots.__main__ import main
from extra_utils.plots.comparison import compare_runs
from extra_utils.plots.draw import draw_run
from extra_utils.plots.run_data import read_run
from extra_utils.plots.style import ATTACKER
from tests.extra_utils.plots.conftest import Shown, copy_run


def test_every_title_says_synthetic(finished_run: Path, shown: Shown) -> None:
    draw_run(finished_run)
    assert set(shown.figures) == {
        "accuracy.png",
        "loss.png",
        "class_mean.png",
        "confusion_matrix.png",
        "partition.png",
    }
    for figure in shown.figures.values():
        assert "SYNTHETIC" in figure.get_suptitle()


def test_every_client_and_the_global_model_have_a_curve(finished_run: Path, shown: Shown) -> None:
    draw_run(finished_run)
    axes = shown.figures["accuracy.png"].axes[0]
    curves = {str(line.get_label()): line for line in axes.get_lines()}
    assert list(curves) == [
        "client 0, local",
        "client 1, local",
        "client 2, local (attacker)",
        "global model",
        "global, recall of pattern 1",
        "global, pattern 1 taken for pattern 4",
    ]
    assert np.array_equal(curves["client 0, local"].get_xdata(), [0.5, 1.0, 1.5, 2.0])
    assert np.array_equal(curves["global model"].get_xdata(), [0, 1, 2])
    run = read_run(finished_run)
    accuracies = [row["accuracy"] for row in run.rounds]
    assert np.array_equal(curves["global model"].get_ydata(), accuracies)


def test_the_attackers_row_is_marked(finished_run: Path, shown: Shown) -> None:
    draw_run(finished_run)
    labels = shown.figures["class_mean.png"].axes[0].get_yticklabels()
    assert [label.get_text() for label in labels] == ["client 0", "client 1", "client 2 (attacker)"]
    assert labels[2].get_color() == ATTACKER


def test_a_target_without_effect_does_not_hide_the_attack(
    finished_run: Path, tmp_path: Path
) -> None:
    attack = {"name": "label_flip", "clients": [2], "source": "all", "target": 99}
    run = read_run(copy_run(finished_run, tmp_path / "all", attack=attack))
    assert [own["clients"] for own in run.config["attack"]] == [[2]]
    assert run.attacked is None


def test_of_several_attacks_the_first_with_classes_is_drawn_and_all_are_said(
    finished_run: Path, tmp_path: Path
) -> None:
    attacks = [
        {"name": "scaling", "fraction": 0.5},
        {"name": "label_flip", "clients": [2, 0], "source": 3, "target": 0},
    ]
    run = read_run(copy_run(finished_run, tmp_path / "both", attack=attacks))
    names = run.run["class_names"]
    assert run.attacked == (names[3], names[0])
    flip = f"attack label_flip ({names[3]} → {names[0]}) by client 0, 2"
    assert f"attack scaling by drawn clients, {flip}" in run.setting
    assert read_run(copy_run(finished_run, tmp_path / "none", attack=None)).attacked is None


def test_many_clients_are_grey_and_arrows(finished_run: Path, tmp_path: Path, shown: Shown) -> None:
    run = copy_run(finished_run, tmp_path / "copy")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    kept = [row for row in rows if row["kind"] not in ("point", "client")]
    kept[0]["class_counts"] = [[1] * 10] * 50
    some = {kind: next(r for r in rows if r["kind"] == kind) for kind in ("point", "client")}
    for client in range(50):
        kept.append({**some["point"], "client": client, "accuracy": float(client)})
        kept.append({**some["client"], "client": client, "attacker": client == 7})
    (run / "metrics.jsonl").write_text("\n".join(json.dumps(row) for row in kept))
    draw_run(run)
    labels = shown.figures["accuracy.png"].axes[0].get_legend_handles_labels()[1]
    assert labels[0] == "44 other clients, local"
    assert "client 7, local (attacker)" in labels
    arrows, flags = shown.figures["class_mean.png"].axes[0].get_lines()
    assert (arrows.get_color(), list(np.asarray(arrows.get_ydata()))) == (ATTACKER, [7])
    assert list(np.asarray(flags.get_ydata())) == []


def test_the_legend_lies_below_when_names_are_long_and_when_they_are_short(
    finished_run: Path, tmp_path: Path, shown: Shown
) -> None:
    run = copy_run(finished_run, tmp_path / "copy")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rows[0]["class_names"] = [f"Tomato___Tomato_Yellow_Leaf_Curl_Virus{c}" for c in range(10)]
    (run / "metrics.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    compare_runs([run, copy_run(run, tmp_path / "other", name="a" * 60)])
    draw_run(run)
    figures = [shown.figures[name] for name in ("accuracy.png", "comparison.png")]
    draw_run(finished_run)
    for figure in [*figures, shown.figures["accuracy.png"]]:
        figure.draw_without_rendering()
        (legend,) = figure.legends
        for axes in figure.axes:
            assert legend.get_window_extent().y1 < axes.xaxis.label.get_window_extent().y0


def test_a_dollar_in_a_name_is_a_dollar(finished_run: Path, tmp_path: Path) -> None:
    run = copy_run(finished_run, tmp_path / "copy", name="a$_$")
    draw_run(run)
    assert (run / "loss.png").exists()


def test_redrawing_one_run_writes_its_pictures(finished_run: Path, tmp_path: Path) -> None:
    run = copy_run(finished_run, tmp_path / "copy")
    (run / "accuracy.png").unlink()
    assert main([str(run)]) == 0
    assert (run / "accuracy.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_that_is_no_run_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}: is not a run's folder")
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "metrics.jsonl").write_text("")
    assert main([str(tmp_path)]) == 2
    assert main([]) == 2
