"""What every picture and table shows, against figures worked out from the rows by another way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from extra_utils.plots.__main__ import main
from extra_utils.plots.draw import draw_run
from tests.extra_utils.plots.conftest import Shown, copy_run

CLASSES = ["cat", "dog", "owl"]
COUNTS = [[10, 20, 30], [40, 50, 60], [70, 80, 90], [5, 6, 7]]
ROUNDS = [0, 1, 2, 3]
PRESENT = {1: [0, 1, 2], 2: [0, 2, 3], 3: [0, 1, 2]}  # clients by round
FLAGGED = {(1, 2), (2, 2), (2, 3), (3, 0)}  # round and client
CONFUSION = [[8, 1, 1], [2, 5, 3], [4, 0, 16]]
RATES = ("accuracy", "loss", "source_recall", "attack_success_rate")


def figure_of(key: str, number: int, seed: int = 0) -> float:
    """A round's figure; no two are equal."""
    start = {"accuracy": 20, "loss": 3, "source_recall": 60, "attack_success_rate": 80}[key]
    return start + number / 4 + 2 * seed


def class_mean(number: int, client: int) -> list[float]:
    return [0.1 * number + 0.01 * client**2 * (1 + c) for c in range(3)]


def point_of(number: int, client: int, step: int) -> dict[str, Any]:
    place = 100 * number + 10 * client + step
    own = {"round": number, "client": client, "epoch": 1, "step": step}
    return {"kind": "point", **own, "loss": place / 100, "accuracy": place / 10}


def make_run(folder: Path, seed: int = 0) -> Path:
    """Four clients, of which three take part in each of three rounds; client 2 attacks."""
    folder.mkdir()
    attack = {"name": "label_flip", "clients": [2], "source": 0, "target": 2}
    config = {"name": "tiny", "seed": seed, "attack": attack, "defense": {"name": "krum"}}
    (folder / "config.json").write_text(json.dumps(config))
    run = {"kind": "run", "dataset": "animals", "synthetic": False, "class_names": CLASSES}
    rows: list[dict[str, Any]] = [{**run, "class_counts": COUNTS}]
    for number in ROUNDS:
        for client in PRESENT.get(number, []):
            rows += [point_of(number, client, step) for step in (1, 2)]
            own = {"round": number, "client": client, "class_mean": class_mean(number, client)}
            flags = {"attacker": client == 2, "flagged": (number, client) in FLAGGED}
            rows.append({"kind": "client", **own, **flags})
        rates = {key: figure_of(key, number, seed) for key in RATES}
        rows.append({"kind": "round", "round": number, **rates})
    means = {key: figure_of(key, 2, seed) for key in RATES}  # of rounds 1 to 3
    rows.append({"kind": "summary", **means, "confusion_matrix": CONFUSION})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def figures(tmp_path: Path, shown: Shown) -> dict[str, Figure]:
    draw_run(make_run(tmp_path / "run"))
    return shown.figures


def data_of(line: Line2D) -> list[list[float]]:
    return [[float(v) for v in np.asarray(own)] for own in (line.get_xdata(), line.get_ydata())]


def curves_of(axes: Axes) -> dict[str, list[list[float]]]:
    return {str(line.get_label()): data_of(line) for line in axes.get_lines()}


def texts_of(axes: Axes) -> dict[tuple[float, float], str]:
    """What stands in the cells, by row and column."""
    return {(text.get_position()[1], text.get_position()[0]): text.get_text()
            for text in axes.texts}  # fmt: skip


def cells_of(axes: Axes, rows: int) -> list[list[str]]:
    texts = texts_of(axes)
    assert len(texts) == 3 * rows
    return [[texts[row, column] for column in range(3)] for row in range(rows)]


@pytest.mark.parametrize("key", ["accuracy", "loss"])
def test_curves_are_the_clients_points_and_the_global_rounds(
    key: str, figures: dict[str, Figure]
) -> None:
    (axes,) = figures[f"{key}.png"].axes
    curves = curves_of(axes)
    assert curves["global model"] == [ROUNDS, [figure_of(key, number) for number in ROUNDS]]
    share = {"accuracy": 10, "loss": 100}[key]
    values = [(100 * n + step) / share for n in (1, 2, 3) for step in (1, 2)]
    assert curves["client 0, local"][0] == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    assert curves["client 0, local"][1] == pytest.approx(values)
    places, values = curves["client 1, local"]
    assert np.array_equal(places, [0.5, 1.0, 2.5, 3.0])  # sat round 2 out
    assert np.allclose(np.array(values) * share, [111, 112, 311, 312])
    attacker = [(100 * n + 20 + step) / share for n in (1, 2, 3) for step in (1, 2)]
    assert curves["client 2, local (attacker)"][1] == pytest.approx(attacker)
    assert axes.get_xlabel() == "round"
    label = {"accuracy": "accuracy on the test images (%)", "loss": "mean cross-entropy of a"}[key]
    assert axes.get_ylabel().startswith(label)
    assert figures[f"{key}.png"].get_suptitle() == f"tiny: animals, {key}"


def test_the_attacks_curves_are_recall_and_success_and_in_the_accuracy_only(
    figures: dict[str, Figure],
) -> None:
    curves = curves_of(figures["accuracy.png"].axes[0])
    for label, key in (
        ("global, recall of cat", "source_recall"),
        ("global, cat taken for owl", "attack_success_rate"),
    ):
        assert curves[label] == [ROUNDS, [figure_of(key, number) for number in ROUNDS]]
    assert len(curves) == 4 + 1 + 2
    assert len(curves_of(figures["loss.png"].axes[0])) == 4 + 1


def image_of(axes: Axes) -> list[list[float]]:
    (image,) = axes.get_images()
    array = image.get_array()
    assert array is not None
    values: list[list[float]] = array.tolist()
    return values


def names_of(axes: Axes) -> tuple[list[str], list[str]]:
    """The rows' and the columns'."""
    rows, columns = axes.get_yticklabels(), axes.get_xticklabels()
    return [text.get_text() for text in rows], [text.get_text() for text in columns]


def test_class_means_are_the_last_rounds_and_the_colours_their_distance_from_the_median(
    figures: dict[str, Figure],
) -> None:
    axes, scale = figures["class_mean.png"].axes
    expected = [[0.3 + 0.01 * square * (1 + c) for c in range(3)] for square in (0, 1, 4)]
    assert cells_of(axes, 3) == [[f"{value:.3f}" for value in row] for row in expected]
    middle = [-0.01, -0.02, -0.03]  # client 1's are the median
    assert np.allclose(image_of(axes), [middle, [0.0, 0.0, 0.0], [0.03, 0.06, 0.09]])
    assert axes.get_images()[0].get_clim() == pytest.approx((-0.09, 0.09))
    rows = ["client 0 (flagged)", "client 1", "client 2 (attacker)"]
    assert names_of(axes) == (rows, CLASSES)
    weights = [label.get_fontweight() for label in axes.get_yticklabels()]
    assert weights == ["bold", "normal", "normal"]
    title = figures["class_mean.png"].get_suptitle()
    assert title == "tiny: animals, class means of the last layer, round 3"
    label = scale.get_ylabel().replace("\n", " ")
    assert label == "weight, above or below the clients' median"


def test_the_partition_counts_images_by_client_and_class(figures: dict[str, Figure]) -> None:
    axes, _ = figures["partition.png"].axes
    assert image_of(axes) == COUNTS
    assert cells_of(axes, 4) == [[str(value) for value in row] for row in COUNTS]
    rows = ["client 0", "client 1", "client 2 (attacker)", "client 3"]
    assert names_of(axes) == (rows, CLASSES)


def test_the_confusion_matrix_is_in_percent_of_the_true_class(figures: dict[str, Figure]) -> None:
    axes, _ = figures["confusion_matrix.png"].axes
    expected = [[80, 10, 10], [20, 50, 30], [20, 0, 80]]
    assert np.allclose(image_of(axes), expected)
    assert cells_of(axes, 3) == [[f"{value:.1f}" for value in row] for row in expected]
    assert names_of(axes) == (CLASSES, CLASSES)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")
    title = figures["confusion_matrix.png"].get_suptitle()
    assert title.endswith("final model, % of true class")


def test_detection_shows_who_was_left_out_when(figures: dict[str, Figure]) -> None:
    axes = figures["detection.png"].axes[0]
    absent, kept, out = "white", "lightgrey", "black"
    expected = [[kept, kept, out], [kept, absent, kept], [out, out, kept], [absent, out, absent]]
    (image,) = axes.get_images()
    colors = image.to_rgba(np.array(image_of(axes)))
    for row, names in enumerate(expected):  # clients
        for column, name in enumerate(names):  # rounds
            assert np.allclose(colors[row, column], to_rgba(name)), (row, column)
    assert names_of(axes) == (["client 0", "client 1", "client 2 (attacker)", "client 3"],
                              ["1", "2", "3"])  # fmt: skip
    assert figures["detection.png"].get_suptitle() == "tiny: animals, left out by krum"
    (legend,) = figures["detection.png"].legends
    assert [text.get_text() for text in legend.get_texts()] == ["kept", "left out"]
    colors_named = [patch.get_facecolor() for patch in legend.get_patches()]
    assert colors_named == [to_rgba(kept), to_rgba(out)]


def test_the_comparison_is_the_mean_of_the_seeds_and_a_band_from_least_to_largest(
    tmp_path: Path, shown: Shown, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [make_run(tmp_path / str(seed), seed) for seed in (0, 1, 5)]  # 2 x their mean is 4
    other = copy_run(runs[0], tmp_path / "other", name="other")
    assert main([str(run) for run in [*runs, other]]) == 0
    figure = shown.figures["comparison.png"]
    panels = {"accuracy": "accuracy (%)", "source_recall": "recall of the source class (%)",
              "attack_success_rate": "source taken for target (%)"}  # fmt: skip
    assert [axes.get_ylabel() for axes in figure.axes] == list(panels.values())
    for axes, key in zip(figure.axes, panels, strict=True):
        means = [figure_of(key, number) + 4 for number in ROUNDS]
        curves = curves_of(axes)
        assert curves == {
            "tiny, 3 seeds": [ROUNDS, means],
            "other": [ROUNDS, [figure_of(key, number) for number in ROUNDS]],
        }
        (band,) = axes.collections
        assert isinstance(band, PolyCollection)
        corners = np.asarray(band.get_paths()[0].vertices)
        for number in ROUNDS:
            at = corners[corners[:, 0] == number, 1]
            assert (at.min(), at.max()) == (means[number] - 4, means[number] + 6)
    out = capsys.readouterr().out.splitlines()
    heads = ["accuracy %", "loss", "source recall %", "attack success %"]
    assert out[0] == f"| setting | n | {' | '.join(heads)} | honest clients flagged % |"
    figures = "24.5 ± 5.3 | 7.50 ± 5.29 | 64.5 ± 5.3 | 84.5 ± 5.3"
    flagged = f"{100 * 2 / 6:.1f}"  # client 3 in round 2 and client 0 in round 3
    assert out[2] == f"| tiny | 3 | {figures} | {flagged} ± 0.0 |"
    assert out[3] == f"| other | 1 | 20.5 | 3.50 | 60.5 | 80.5 | {flagged} |"
