"""Several runs in one figure and one table; runs that differ in their seed become one curve."""

import json
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from extra_utils.basics.errors import printable
from extra_utils.plots.curves import HONEST, place_legend
from extra_utils.plots.run_data import RunData, column, read_run
from extra_utils.plots.style import save

ANY_VALUE = ("seed", "world_size", "timeout_s", "checkpoint_every", "output_dir", "data_path")
PANELS = {
    "accuracy": "accuracy (%)",
    "source_recall": "recall of the source class (%)",
    "attack_success_rate": "source taken for target (%)",
}
Groups = dict[str, list[RunData]]


def compare_runs(folders: list[Path]) -> str:
    """Draws ``comparison.png`` beside the first folder; returns a Markdown table and its place."""
    runs = [read_run(folder) for folder in folders]
    groups = group_by_setting(runs)
    figure = Figure(figsize=(5 * len(PANELS), 4.5))
    for axes, (key, label) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        for number, (name, group) in enumerate(groups.items()):
            draw_group(axes, name, group, key, HONEST[number % len(HONEST)])
        axes.set(xlabel="round", ylabel=label, ylim=(0, 100))
        axes.grid(alpha=0.3)
    place_legend(figure.axes[0], longest=30)
    figure.suptitle(", ".join(sorted({run.run["dataset"] for run in runs})))
    path = folders[0].parent / "comparison.png"
    save(figure, path)
    return f"{table(groups)}\n\ncomparison: {printable(str(path))}"


def group_by_setting(runs: list[RunData]) -> Groups:
    """Runs of one setting, by its name, or by their first folder where two settings share one."""
    by_setting: Groups = {}
    for run in runs:
        by_setting.setdefault(setting(run), []).append(run)
    names = [group[0].config["name"] for group in by_setting.values()]
    return {
        name if names.count(name) == 1 else f"{name} ({group[0].folder.name})": group
        for name, group in zip(names, by_setting.values(), strict=True)
    }


def setting(run: RunData) -> str:
    """All of a config that matters but the seed, and of drawn attackers their number."""
    config = {key: value for key, value in run.config.items() if key not in ANY_VALUE}
    if config["attack"]:
        attackers = len(config["attack"].get("clients", []))
        config["attack"] = {**config["attack"], "clients": attackers}
    return json.dumps(config, sort_keys=True)


def draw_group(axes: Axes, name: str, runs: list[RunData], key: str, color: object) -> None:
    """The mean over the seeds, and a band from the lowest to the highest."""
    length = min(len(run.rounds) for run in runs)
    values = np.array([column(run.rounds[:length], key) for run in runs])  # [runs, rounds]
    if not length or np.isnan(values).any():
        return
    places = column(runs[0].rounds[:length], "round")
    label = name if len(runs) == 1 else f"{name}, {len(runs)} seeds"
    axes.plot(places, values.mean(axis=0), "o-", color=color, markersize=3, label=label)
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
