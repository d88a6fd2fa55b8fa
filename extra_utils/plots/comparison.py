"""Several runs in one figure and one table; runs that differ in their seed become one curve."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from extra_utils.basics.errors import printable
from extra_utils.plots import style
from extra_utils.plots.run_data import SEPARATOR, RunData, column, read_run, readable
from extra_utils.plots.style import HONEST, marks, save

ANY_VALUE = ("seed", "world_size", "timeout_s", "checkpoint_every", "output_dir", "data_path")
PANELS = {
    "accuracy": "accuracy (%)",
    "source_recall": "recall of the source class (%)",
    "attack_success_rate": "source taken for target (%)",
}
MARKERS = "osD^v<P"  # one more than colours, so that more groups than either look different
HEIGHT = 2.2  # inches
Groups = dict[str, list[RunData]]


def compare_runs(folders: list[Path], formats: Iterable[str] = ("png",)) -> str:
    """Draws ``comparison.png`` beside the first folder; returns a Markdown table and its place."""
    runs = [read_run(folder) for folder in folders]
    groups = group_by_setting(runs)
    figure = style.new_figure(HEIGHT, len(PANELS))
    for axes, (key, label) in zip(figure.axes, PANELS.items(), strict=True):
        for number, (name, group) in enumerate(groups.items()):
            draw_group(axes, name, group, key, number)
        axes.set(xlabel="round", ylabel=label, ylim=(-2, 102))
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.grid(alpha=0.3)
        if not axes.lines:
            axes.text(0.5, 0.5, "not measured", ha="center", transform=axes.transAxes)
    parts = runs[0].setting.split(SEPARATOR)
    shared = [part for part in parts if all(part in run.setting.split(SEPARATOR) for run in runs)]
    title = f"comparison: {', '.join(sorted({run.run['dataset'] for run in runs}))}"
    style.arrange(figure, title, SEPARATOR.join(shared))
    paths = [folders[0].parent / f"comparison.{form}" for form in formats]
    for path in paths:
        save(figure, path)
    return f"{table(groups)}\n\ncomparison: {printable(', '.join(map(str, paths)))}"


def group_by_setting(runs: list[RunData]) -> Groups:
    """Runs of one setting, by its name, or by their first folder where two settings share one."""
    by_setting: Groups = {}
    for run in runs:
        by_setting.setdefault(setting(run), []).append(run)
    names = [group[0].config["name"] for group in by_setting.values()]
    return {
        name if names.count(name) == 1 else f"{name} ({readable(group[0].folder.name)})": group
        for name, group in zip(names, by_setting.values(), strict=True)
    }


def setting(run: RunData) -> str:
    """All of a config that matters but the seed, and of drawn attackers their number."""
    config = {key: value for key, value in run.config.items() if key not in ANY_VALUE}
    if config["attack"]:
        attackers = len(config["attack"].get("clients", []))
        config["attack"] = {**config["attack"], "clients": attackers}
    return json.dumps(config, sort_keys=True)


def draw_group(axes: Axes, name: str, runs: list[RunData], key: str, number: int) -> None:
    """The mean over the seeds, and a band from the lowest to the highest.

    The number of the group chooses colour and marker.
    """
    length = min(len(run.rounds) for run in runs)
    values = np.array([column(run.rounds[:length], key) for run in runs])  # [runs, rounds]
    if not length or np.isnan(values).any():
        return
    places = column(runs[0].rounds[:length], "round")
    label = name if len(runs) == 1 else f"{name}, {len(runs)} seeds"
    color, marker = HONEST[number % len(HONEST)], MARKERS[number % len(MARKERS)]
    how = marks(len(places), marker=marker)
    axes.plot(places, values.mean(axis=0), "-", color=color, label=label, **how)
    if len(runs) > 1:
        axes.fill_between(places, values.min(axis=0), values.max(axis=0), color=color, alpha=0.2)


def table(groups: Groups) -> str:
    """Each run's summary, the mean of its last 3 rounds, averaged over the seeds."""
    lines = ["| run | seeds | accuracy % | loss | source recall % | attack success % |"]
    lines.append("|---" * 6 + "|")
    for name, runs in groups.items():
        summaries = [run.summary for run in runs if run.summary]
        keys = ("accuracy", "loss", "source_recall", "attack_success_rate")
        means = [column(summaries, key).mean() if summaries else np.nan for key in keys]
        cells = ["-" if np.isnan(mean) else f"{mean:.2f}" for mean in means]
        lines.append(f"| {name} | {len(runs)} | {' | '.join(cells)} |")
    return "\n".join(lines)
