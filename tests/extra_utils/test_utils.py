"""The image viewer."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from extra_utils.plots.draw import save
from extra_utils.utils import draw_samples, pick_samples


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
        save(draw_samples(rows, ["cat", "dog"], "title", "red"), tmp_path / "s.png")
        assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")
