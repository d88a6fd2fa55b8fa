"""Writes the tables of docs/evidence.md between its markers, and its pictures.

python -m tests.benchmarks.evidence_page
"""

from __future__ import annotations

from extra_utils.plots.style import save
from tests.benchmarks.evidence_pictures import figures
from tests.benchmarks.evidence_rows import FOLDER
from tests.benchmarks.evidence_tables import filled
from tests.helpers import ROOT

PAGE = ROOT / "docs" / "evidence.md"

if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text("utf-8")), "utf-8")
    for name, figure in figures():
        save(figure, FOLDER / f"{name}.png")
        print(FOLDER / f"{name}.png")
