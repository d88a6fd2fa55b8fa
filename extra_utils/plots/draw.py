"""Every picture of a run's folder, from config.json and metrics.jsonl alone."""

import sys
from pathlib import Path

from extra_utils.basics.errors import say
from extra_utils.plots import curves, matrices
from extra_utils.plots.run_data import read_run
from extra_utils.plots.style import save


def draw_run(folder: Path) -> None:
    """Every picture that metrics.jsonl has the figures for."""
    run = read_run(folder)
    for key in ("accuracy", "loss"):
        save(curves.draw_curves(run, key), folder / f"{key}.png")
    save(matrices.draw_partition(run), folder / "partition.png")
    if run.clients:
        save(matrices.draw_class_means(run), folder / "class_mean.png")
    if any(row["flagged"] is not None for row in run.clients):
        save(matrices.draw_detection(run), folder / "detection.png")
    if run.summary:
        save(matrices.draw_confusion(run, run.summary), folder / "confusion_matrix.png")
    else:
        say(f"note: {folder}: the run has not ended: no confusion matrix", sys.stderr)
