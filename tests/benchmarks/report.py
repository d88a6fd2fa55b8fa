"""All benchmarks in one go; rewrites docs/speed.md and its figures.

python -m tests.benchmarks.report [--times 3]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from matplotlib.figure import Figure

from extra_utils.plots.style import save
from extra_utils.processes.child import available_cores
from extra_utils.run.metrics import versions
from tests.benchmarks import (
    aggregation,
    cores,
    local_evaluation,
    rounds,
    scaling,
    soak,
    startup,
    sweeps,
)
from tests.benchmarks.measure import plain_ticks
from tests.readme import DOCS, SPEED, rewrite


def draw(ratios: dict[str, float], path: Path) -> None:
    """Seconds of a round by the limit's, as bars on a logarithmic axis."""
    figure = Figure(figsize=(7, 2.6))
    axes = figure.add_subplot()
    bars = axes.barh(list(ratios), list(ratios.values()), color=["grey", "C0", "C0", "C1", "C1"])
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.set_title("Seconds of a round: 10 clients x 5,000 images")
    axes.set(xscale="log", xlim=(0.5, 40), xlabel="x the limit, plain PyTorch (logarithmic)")
    plain_ticks(axes.xaxis, [0.5, 1, 2, 5, 10, 20, 40])
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    save(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--images", type=int, default=50_000)
    options = parser.parse_args()
    start = time.monotonic()
    first = rounds.section(options.images, options.times)
    draw(first.ratios, DOCS / "speed.png")
    parts = [
        first.text,
        "![A round of ours and of the article's loop by the limit's](speed.png)",
        startup.section(options.times + 2).text,
        local_evaluation.section(max(2, options.times - 1)).text,
        aggregation.section(9).text,
        cores.section(4_800).text,
        scaling.section(1, DOCS / "scaling.png").text,
        soak.section(30, 300)[0].text,
        sweeps.section(1).text,
    ]
    minutes = (time.monotonic() - start) / 60
    names = ", ".join(f"{name} {number}" for name, number in versions().items())
    head = (
        f"Printed by one run of `python -m tests.benchmarks.report` ({minutes:.0f} minutes) on "
        f"{available_cores()} cores, {names}. Competitors take turns; medians (least - largest)."
    )
    rewrite(SPEED, text := "\n\n".join([head, *parts]))
    print(text)


if __name__ == "__main__":
    main()
