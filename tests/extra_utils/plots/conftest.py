"""Figures that are looked at instead of saved, and copies of a finished run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from extra_utils.plots import comparison, draw


class Shown:
    """Keeps the figures that would be saved."""

    def __init__(self) -> None:
        self.figures: dict[str, Figure] = {}

    def save(self, figure: Figure, path: Path) -> None:
        self.figures[path.name] = figure


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    keeper = Shown()
    for module in (draw, comparison):
        monkeypatch.setattr(module, "save", keeper.save)
    return keeper


def copy_run(folder: Path, place: Path, **keys: Any) -> Path:
    """A copy of a finished run under another name or seed."""
    shutil.copytree(folder, place)
    config = json.loads((place / "config.json").read_text()) | keys
    (place / "config.json").write_text(json.dumps(config))
    return place
