"""Curves of clients that take part in some rounds only, and of many clients."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from extra_utils.plots.draw import choose_clients, draw_run, point_places
from tests.extra_utils.plots.conftest import Shown
from tests.extra_utils.plots.made_runs import Made, make_run
from tests.helpers import read_rows


def test_points_lie_evenly_in_their_round() -> None:
    points = [{"round": 2}, {"round": 2}, {"round": 4}]
    assert point_places(points) == [1.5, 2.0, 4.0]


def test_of_many_clients_a_handful_has_colours_with_client_0_and_attackers() -> None:
    assert choose_clients([0, 1, 2], {2}) == [0, 1, 2]
    assert choose_clients(list(range(50)), {10, 20, 30, 40}) == [0, 1, 2, 10, 20, 30]
    assert choose_clients(list(range(10)), {0, 1}) == [0, 1, 2, 3, 4, 5]
    assert choose_clients([5, 6, 7, 8, 9, 11, 12], set()) == [5, 6, 7, 8, 9, 11]


def test_the_other_clients_are_grey_curves_under_the_handful_and_one_name(
    tmp_path: Path, shown: Shown
) -> None:
    run = make_run(tmp_path / "run", Made(clients=10, rounds=2, attackers=(8,)))
    draw_run(run)
    figure = shown.figures["accuracy.png"]
    lines = figure.axes[0].get_lines()
    grey = [line for line in lines if line.get_color() == "lightgrey"]
    rows = read_rows(run, "point")
    for client, line in zip((5, 6, 7, 9), grey, strict=True):
        values = [row["accuracy"] for row in rows if row["client"] == client]
        assert np.array_equal(line.get_ydata(), values)
    assert lines[: len(grey)] == grey  # what is drawn first lies below
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    named = [f"client {n}, local" for n in range(5)] + ["client 8, local (attacker)"]
    assert texts[: 1 + len(named)] == ["4 other clients, local", *named]
