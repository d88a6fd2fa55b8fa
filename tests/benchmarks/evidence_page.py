"""Writes the tables of the evidence between their pages' markers, and its pictures.

python -m tests.benchmarks.evidence_page
"""

from __future__ import annotations

from collections.abc import Callable

from extra_utils.plots.comparison import markdown
from extra_utils.plots.style import save
from tests.benchmarks.evidence_answers import Cells, advice, goals
from tests.benchmarks.evidence_pictures import figures
from tests.benchmarks.evidence_rows import FOLDER
from tests.benchmarks.evidence_tables import (
    flips,
    fractions,
    hidden,
    no_attack,
    other_settings,
    worst_case,
)
from tests.helpers import ROOT

PAGES = [ROOT / "docs" / name for name in ("evidence.md", "attacks_and_defences.md")]

TABLES: dict[str, Callable[[], Cells]] = {
    table.__name__: table
    for table in (flips, no_attack, fractions, worst_case, hidden, other_settings, goals, advice)
}


def filled(page: str) -> str:
    """The page with each table between its markers."""
    for name, table in TABLES.items():
        head, tail = f"<!-- table: {name} -->", "<!-- end of table -->"
        before, _, rest = page.partition(head)
        if not rest:
            continue
        after = rest.partition(tail)[2]
        page = f"{before}{head}\n\n{markdown(table())}\n\n{tail}{after}"
    return page


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(filled(page.read_text("utf-8")), "utf-8")
    for name, figure in figures():
        save(figure, FOLDER / f"{name}.png")
        print(FOLDER / f"{name}.png")
