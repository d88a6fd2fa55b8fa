"""Pictures are drawn from a run's folder alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from extra_utils.plots import compare
from extra_utils.plots import draw as plots
from extra_utils.plots.__main__ import main
from extra_utils.plots.draw import choose_clients, point_places, with_gaps
from extra_utils.plots.run_data import read_run
from extra_utils.utils import draw_samples, pick_samples


class Shown:
    """Keeps the figures that would be saved."""

    def __init__(self) -> None:
        self.figures: dict[str, Figure] = {}

    def save(self, figure: Figure, path: Path) -> None:
        self.figures[path.name] = figure


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    keeper = Shown()
    monkeypatch.setattr(plots, "save", keeper.save)
    monkeypatch.setattr(compare, "save", keeper.save)
    return keeper


def copy_run(folder: Path, place: Path, **keys: Any) -> Path:
    """A copy of a finished run under another name or seed."""
    shutil.copytree(folder, place)
    config = json.loads((place / "config.json").read_text()) | keys
    (place / "config.json").write_text(json.dumps(config))
    return place


def test_every_title_says_synthetic(finished_run: Path, shown: Shown) -> None:
    plots.draw_run(finished_run)
    assert set(shown.figures) == {
        "accuracy.png", "loss.png", "class_mean.png", "confusion_matrix.png", "partition.png",
    }  # fmt: skip
    for figure in shown.figures.values():
        assert "SYNTHETIC" in figure.axes[0].get_title()


def test_every_client_and_the_global_model_have_a_curve(finished_run: Path, shown: Shown) -> None:
    plots.draw_run(finished_run)
    axes = shown.figures["accuracy.png"].axes[0]
    curves = {str(line.get_label()): line for line in axes.get_lines()}
    assert list(curves) == [
        "client 0, local", "client 1, local", "client 2, local (attacker)", "global model",
        "global, recall of pattern 1", "global, pattern 1 taken for pattern 4",
    ]  # fmt: skip
    assert np.array_equal(curves["client 0, local"].get_xdata(), [0.5, 1.0, 1.5, 2.0])
    assert np.array_equal(curves["global model"].get_xdata(), [0, 1, 2])
    run = read_run(finished_run)
    accuracies = [row["accuracy"] for row in run.rounds]
    assert np.array_equal(curves["global model"].get_ydata(), accuracies)


def test_the_attackers_row_is_marked(finished_run: Path, shown: Shown) -> None:
    plots.draw_run(finished_run)
    labels = shown.figures["class_mean.png"].axes[0].get_yticklabels()
    assert [label.get_text() for label in labels] == ["client 0", "client 1", "client 2 (attacker)"]
    assert labels[2].get_color() == "crimson"


def test_a_target_without_effect_does_not_hide_the_attack(
    finished_run: Path, tmp_path: Path
) -> None:
    attack = {"name": "label_flip", "clients": [2], "source": "all", "target": 99}
    run = read_run(copy_run(finished_run, tmp_path / "all", attack=attack))
    assert run.config["attack"]["clients"] == [2]
    assert run.attacked is None


def test_points_lie_evenly_in_their_round() -> None:
    points = [{"round": 2}, {"round": 2}, {"round": 4}]
    assert point_places(points) == [1.5, 2.0, 4.0]


def test_a_curve_breaks_where_its_client_sat_out_a_round() -> None:
    points = [{"round": r, "accuracy": float(r)} for r in (1, 2, 4)]
    places, values = with_gaps(points, "accuracy")
    assert places == [1.0, 2.0, 4.0, 4.0]
    assert np.array_equal(values, [1.0, 2.0, np.nan, 4.0], equal_nan=True)


def test_of_many_clients_a_handful_has_curves_with_client_0_and_attackers() -> None:
    assert choose_clients([0, 1, 2], {2}) == [0, 1, 2]
    assert choose_clients(list(range(50)), {10, 20, 30, 40}) == [0, 1, 2, 10, 20, 30]
    assert choose_clients(list(range(10)), {0, 1}) == [0, 1, 2, 3, 4, 5]
    assert choose_clients([5, 6, 7, 8, 9, 11, 12], set()) == [5, 6, 7, 8, 9, 11]


def test_many_clients_are_a_band_and_arrows(
    finished_run: Path, tmp_path: Path, shown: Shown
) -> None:
    run = copy_run(finished_run, tmp_path / "copy")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    kept = [row for row in rows if row["kind"] not in ("point", "client")]
    kept[0]["class_counts"] = [[1] * 10] * 50
    some = {kind: next(r for r in rows if r["kind"] == kind) for kind in ("point", "client")}
    for client in range(50):
        kept.append({**some["point"], "client": client, "accuracy": float(client)})
        kept.append({**some["client"], "client": client, "attacker": client == 7})
    (run / "metrics.jsonl").write_text("\n".join(json.dumps(row) for row in kept))
    plots.draw_run(run)
    labels = shown.figures["accuracy.png"].axes[0].get_legend_handles_labels()[1]
    assert labels[0] == "all 50 clients, local"
    assert "client 7, local (attacker)" in labels
    arrows = shown.figures["class_mean.png"].axes[0].collections[0]
    assert arrows.get_offsets().tolist() == [[-0.6, 7.0]]  # type: ignore[union-attr]


def test_the_band_holds_clients_with_few_points_and_with_many(shown: Shown) -> None:
    del shown
    axes = Figure().add_subplot()
    by_client = {
        0: [{"round": 1, "accuracy": float(v)} for v in (10, 20, 30, 40, 50)],
        1: [{"round": 1, "accuracy": 35.0}],
        2: [{"round": 1, "accuracy": float(v)} for v in (0, 60)],
    }
    plots.draw_band(axes, by_client, "accuracy")
    (path,) = axes.collections[0].get_paths()
    corners = path.vertices
    assert isinstance(corners, np.ndarray)
    at_end = corners[np.isclose(corners[:, 0], 1.0), 1]
    at_half = corners[np.isclose(corners[:, 0], 0.5), 1]
    assert (at_end.min(), at_end.max()) == (35.0, 60.0)
    assert (at_half.min(), at_half.max()) == (0.0, 25.0)


def test_a_dollar_in_a_name_is_a_dollar(finished_run: Path, tmp_path: Path) -> None:
    run = copy_run(finished_run, tmp_path / "copy", name="a$_$")
    plots.draw_run(run)
    assert (run / "loss.png").exists()


def test_redrawing_one_run_writes_its_pictures(finished_run: Path, tmp_path: Path) -> None:
    run = copy_run(finished_run, tmp_path / "copy")
    (run / "accuracy.png").unlink()
    assert main([str(run)]) == 0
    assert (run / "accuracy.png").read_bytes().startswith(b"\x89PNG")


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


def test_a_folder_that_is_no_run_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}: is not a run's folder")
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "metrics.jsonl").write_text("")
    assert main([str(tmp_path)]) == 2
    assert main([]) == 2


def test_samples_show_changed_labels_first() -> None:
    true = np.arange(20) % 4
    trained = np.where(true == 1, 3, true)
    chosen = pick_samples(true, trained, np.random.default_rng(0))
    assert len(chosen) == 8
    assert (true != trained)[chosen].tolist() == [True] * 4 + [False] * 4
    assert len(set(chosen)) == 8


def test_the_viewer_draws_colour_and_grey_images(tmp_path: Path) -> None:
    labels, flipped = np.array([0, 1]), np.array([0, 0])
    for channels in (1, 3):
        images = np.zeros((2, 8, 8, channels), dtype=np.uint8)
        rows = {"client 0": (images, labels, flipped)}
        draw_samples(tmp_path / "s.png", rows, ["cat", "dog"], "title")
        assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")
