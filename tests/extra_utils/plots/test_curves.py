"""Curves of clients that take part in some rounds only, and of many clients."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from extra_utils.plots.draw import choose_clients, draw_band, point_places, with_gaps


def test_points_lie_evenly_in_their_round() -> None:
    points = [{"round": 2}, {"round": 2}, {"round": 4}]
    assert point_places(points) == [1.5, 2.0, 4.0]


def test_a_curve_breaks_where_its_client_sat_out_a_round() -> None:
    points = [{"round": r, "accuracy": float(r)} for r in (1, 2, 4)]
    places, values = with_gaps(points, "accuracy")
    assert places.tolist() == [1.0, 2.0, 4.0, 4.0]
    assert np.array_equal(values, [1.0, 2.0, np.nan, 4.0], equal_nan=True)


def test_of_many_clients_a_handful_has_curves_with_client_0_and_attackers() -> None:
    assert choose_clients([0, 1, 2], {2}) == [0, 1, 2]
    assert choose_clients(list(range(50)), {10, 20, 30, 40}) == [0, 1, 2, 10, 20, 30]
    assert choose_clients(list(range(10)), {0, 1}) == [0, 1, 2, 3, 4, 5]
    assert choose_clients([5, 6, 7, 8, 9, 11, 12], set()) == [5, 6, 7, 8, 9, 11]


def test_the_band_holds_clients_with_few_points_and_with_many() -> None:
    axes = Figure().add_subplot()
    by_client = {
        0: [{"round": 1, "accuracy": float(v)} for v in (10, 20, 30, 40, 50)],
        1: [{"round": 1, "accuracy": 35.0}],
        2: [{"round": 1, "accuracy": float(v)} for v in (0, 60)],
    }
    draw_band(axes, by_client, "accuracy")
    (path,) = axes.collections[0].get_paths()
    corners = path.vertices
    assert isinstance(corners, np.ndarray)
    at_end = corners[np.isclose(corners[:, 0], 1.0), 1]
    at_half = corners[np.isclose(corners[:, 0], 0.5), 1]
    assert (at_end.min(), at_end.max()) == (35.0, 60.0)
    assert (at_half.min(), at_half.max()) == (0.0, 25.0)
