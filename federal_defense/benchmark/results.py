"""What a benchmark's runs say: a table for each setting, and source recall against accuracy."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from extra_utils.basics.files import write_whole
from extra_utils.plots import style
from extra_utils.plots.comparison import MARKERS, NOTES, Group, cells, markdown, shared_setting
from extra_utils.plots.run_data import read_run
from extra_utils.plots.style import HONEST, save
from federal_defense.benchmark.plan import Plan

MOST_COLUMNS = 2  # of panels
PANEL = 2.6  # inches of its height
TOLD = "krum, multi_krum and trimmed_mean are told the number of attackers, oracle who they are."
Groups = dict[tuple[str, str], Group]  # by table and rule


def publish(plan: Plan, folder: Path) -> str:
    """Writes ``benchmark.md`` and ``benchmark.png`` of all runs that are done; the tables."""
    groups: Groups = {}
    for cell in plan.cells:
        if not cell.refused and (folder / cell.name / "model.pth").is_file():
            group = groups.setdefault((cell.table, cell.rule), Group(cell.rule, [], {}))
            group.runs.append(read_run(folder / cell.name))
    if not groups:
        return "no run has come to its end"
    runs = [run for group in groups.values() for run in group.runs]
    dataset = runs[0].run["dataset"]
    about = f"{dataset}: {shared_setting(runs)}. {NOTES} {TOLD}"
    text = "\n\n".join([about, *tables(plan, groups)])
    path = folder / "benchmark.png"
    write_whole(path.with_suffix(".md"), text)
    save(draw(plan, groups, dataset, shared_setting(runs)), path)
    return f"{text}\n\nfigure: {path}"


def tables(plan: Plan, groups: Groups) -> Iterator[str]:
    """Markdown, one for each setting."""
    refused = {(cell.table, cell.rule): cell.refused for cell in plan.cells if cell.refused}
    for title in plan.tables:
        head, *rows = cells([group for (own, _), group in groups.items() if own == title], None)
        found = {row[0]: row for row in rows}
        for rule in plan.rules:
            reason = refused.get((title, rule), "not run to its end")
            found.setdefault(rule, [rule, reason, *[""] * (len(head) - 2)])
        yield markdown([[title, *head[1:]], *(found[rule] for rule in plan.rules)])


def draw(plan: Plan, groups: Groups, dataset: str, setting: str) -> Figure:
    """Source recall against accuracy, a panel for each attacked setting."""
    attacked = [title for title in plan.tables if title not in plan.clean.values()]
    columns = min(len(attacked), MOST_COLUMNS) or 1
    rows = -(-len(attacked) // columns) or 1
    figure = Figure(figsize=(style.WIDTH, PANEL * rows + 1), layout="constrained")
    handles: dict[str, Any] = {}
    for place, title in enumerate(attacked, start=1):
        axes = figure.add_subplot(rows, columns, place)
        clean = groups.get((plan.clean.get(title, ""), "mean"))
        draw_point(axes, clean, "mean, no attack", "+", "grey")
        for number, rule in enumerate(plan.rules):
            marker, color = MARKERS[number % len(MARKERS)], HONEST[number % len(HONEST)]
            draw_point(axes, groups.get((title, rule)), rule, marker, color)
        axes.set(xlabel="source recall (%)", ylabel="accuracy (%)", title=title)
        axes.grid(alpha=0.3)
        points, names = axes.get_legend_handles_labels()
        handles |= zip(names, points, strict=True)
    figure.legend(handles.values(), handles.keys(), loc="outside lower left", ncols=4)
    figure.draw_without_rendering()  # all have their places now, and keep them under the title
    figure.set_layout_engine("none")
    style.add_head(figure, f"{dataset}: every rule in every attacked setting", setting)
    return figure


def draw_point(axes: Axes, group: Group | None, name: str, marker: str, color: str) -> None:
    x, y = (group and group.spread(key) for key in ("source_recall", "accuracy"))
    if x and y:
        bars: dict[str, Any] = {"xerr": x.deviation, "yerr": y.deviation, "elinewidth": 0.7}
        axes.errorbar(x.mean, y.mean, fmt=marker, color=color, label=name, **bars)
