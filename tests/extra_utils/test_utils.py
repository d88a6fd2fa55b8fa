"""The image viewer."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from extra_utils.plots.run_data import readable
from extra_utils.plots.style import add_head, in_lines
from extra_utils.utils import LETTERS, NAME, draw_samples, pick_samples

LEAF = "Corn_(maize)___Cercospora_leaf_spot Gray_leaf_spot"


def test_samples_show_changed_labels_first() -> None:
    true = np.arange(20) % 4
    trained = np.where(true == 1, 3, true)
    chosen = pick_samples(true, trained, np.random.default_rng(0))
    assert len(chosen) == 8
    assert (true != trained)[chosen].tolist() == [True] * 4 + [False] * 4
    assert len(set(chosen)) == 8


@pytest.mark.parametrize("channels", [1, 3])
def test_the_viewer_shows_each_image_under_its_labels(channels: int) -> None:
    images = np.arange(3 * 8 * 8 * channels, dtype=np.uint8).reshape(3, 8, 8, channels)
    rows = {
        "client 0": (images[:2], np.array([0, 1]), np.array([0, 0])),
        "client 2": (images[2:], np.array([1]), np.array([2])),
    }
    figure = draw_samples(rows, ["cat", "dog", "owl"], "crimson")
    seen = []
    for axes in figure.axes:
        (image,) = axes.get_images()
        seen.append((axes.get_ylabel(), axes.get_title(), axes.title.get_color()))
        shown = image.get_array()
        assert shown is not None
        assert np.array_equal(shown, images[len(seen) - 1].squeeze())
        assert image.get_clim() == (0, 255)
    assert seen == [
        ("client 0", "cat", "black"),
        ("", "dog\n→ cat", "crimson"),
        ("client 2", "dog\n→ owl", "crimson"),
    ]


@pytest.mark.parametrize(
    "name", ["Corn_(maize)___Cercospora_leaf_spot Gray_leaf_spot", "花" * 30, "W" * 60]
)
def test_long_names_cover_neither_each_other_nor_images(name: str) -> None:
    name = readable(name)  # not each machine has a font for it
    labels = np.arange(8) % 2
    samples = (np.zeros((8, 8, 8, 3), dtype=np.uint8), labels, 1 - labels)
    rows = {f"client {number}": samples for number in range(3)}
    names = [in_lines(each, NAME, LETTERS, " _-") for each in (name, name[::-1])]
    figure = draw_samples(rows, names, "red")
    add_head(figure, f"title {name}", "setting")
    figure.draw_without_rendering()
    titles = [axes.title.get_window_extent() for axes in figure.axes]
    images = [axes.get_window_extent() for axes in figure.axes]
    for row in range(3):
        in_row = titles[8 * row : 8 * row + 8]
        assert all(left.x1 < right.x0 for left, right in pairwise(in_row))
    assert all(titles[i + 8].y1 < images[i].y0 for i in range(16))
    assert all(image.height > 80 for image in images)
    _, setting = figure.texts
    assert setting.get_window_extent().y0 > max(title.y1 for title in titles)
