"""Every picture of a run's folder, from config.json and metrics.jsonl alone."""

from collections.abc import Iterable
from pathlib import Path

from extra_utils.plots import curves, matrices
from extra_utils.plots.comparison import Group, cells
from extra_utils.plots.report import write_report
from extra_utils.plots.run_data import RunData, read_run, say_once
from extra_utils.plots.style import save


def draw_run(folder: Path, formats: Iterable[str] = ("png",)) -> RunData:
    """Every picture that metrics.jsonl has the figures for; returns what was read."""
    run = read_run(folder)
    figures = {key: curves.draw_curves(run, key) for key in ("accuracy", "loss")}
    figures["partition"] = matrices.draw_partition(run)
    if run.clients:
        figures["class_mean"] = matrices.draw_class_means(run)
    if any(row["flagged"] is not None for row in run.clients):
        figures["detection"] = matrices.draw_detection(run)
    if run.summary:
        figures["confusion_matrix"] = matrices.draw_confusion(run, run.summary)
    else:
        say_once(f"note: {folder}: the run has not ended: no confusion matrix")
    for name, figure in figures.items():
        for form in formats:
            save(figure, folder / f"{name}.{form}")
    return run


def report_run(folder: Path) -> Path:
    """The page of a run, once its pictures are drawn."""
    run = read_run(folder)
    return write_report(run, cells([Group("global model", [run], {})], None))
