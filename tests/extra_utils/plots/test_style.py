"""Pictures look the same whatever the user's own matplotlib is set to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.extra_utils.plots.conftest import copy_run
from tests.helpers import ROOT, one_now

DARK = (
    "text.usetex: True\ntext.color: white\naxes.facecolor: black\nsavefig.facecolor: none\n"
    "font.family: monospace\nbackend: TkAgg\naxes.titlecolor: white\n"
)
ELSEWHERE = {
    "a notebook's backend": {"MPLBACKEND": "module://matplotlib_inline.backend_inline"},
    "an old backend": {"MPLBACKEND": "Qt4Agg"},
    "a dark file": {"MATPLOTLIBRC": "matplotlibrc"},
}
DRAW = """
import sys
from pathlib import Path
import numpy as np
from extra_utils.plots.draw import draw_run
from extra_utils.plots.style import save
from extra_utils.utils import draw_samples
draw_run(Path(sys.argv[1]))
rows = {"client 0": (np.zeros((1, 8, 8, 3), np.uint8), [0], [1])}
save(draw_samples(rows, ["cat", "dog"], "red"), Path(sys.argv[1], "samples.png"))
"""


@pytest.mark.parametrize("settings", one_now(ELSEWHERE))
def test_the_users_own_settings_of_matplotlib_change_no_picture(
    settings: dict[str, str], finished_run: Path, tmp_path: Path
) -> None:
    (tmp_path / "matplotlibrc").write_text(DARK)
    drawn = []
    for name, more in (("as usual", {}), ("elsewhere", settings)):
        run = copy_run(finished_run, tmp_path / name)
        places = {"PYTHONPATH": str(ROOT)}
        if "MATPLOTLIBRC" in more:
            places["MATPLOTLIBRC"] = str(tmp_path / "matplotlibrc")
        env = {k: v for k, v in os.environ.items() if not k.startswith("M")} | more | places
        command = [sys.executable, "-c", DRAW, str(run)]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        drawn.append({path.name: path.read_bytes() for path in run.glob("*.png")})
    assert drawn[0] == drawn[1]
    assert len(drawn[0]) == 6
