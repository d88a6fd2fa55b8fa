"""The split into training and validation, the class table, and the image viewer."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.random import Generator

from extra_utils.basics.files import write_json
from extra_utils.my_dataset import Images, Labels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 8  # images in a row of the viewer
IMAGE, RIM, LINE = 0.7, 0.08, 0.12  # inches: an image's side, between images, a line of letters
LETTERS, NAME = 6.5, 0.64  # their size in points, and inches of a line, before it an arrow
Samples = tuple[Images, Labels, Labels]  # [N, H, W, C], the true labels, those trained on


def split_by_class(labels: Labels, rate: float, generator: Generator) -> tuple[Labels, Labels]:
    """Ascending indices to train and validate on: of each class the rate's share, at least one."""
    is_held_out = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        size = max(1, round(rate * len(members))) if len(members) > 1 else 0  # a single one trains
        is_held_out[members[:size]] = True
    return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)


def save_class_indices(run_dir: Path, class_names: list[str]) -> None:
    write_json(run_dir / "class_indices.json", dict(enumerate(class_names)))


def draw_samples(rows: dict[str, Samples], names: list[str], changed: str) -> "Figure":
    """By client its images under their labels, changed ones in the colour ``changed``.

    The classes' names are in lines of at most ``NAME`` inches."""
    from matplotlib.figure import Figure  # not before the ranks are done: they have no use for it

    shown = {label for _, *labels in rows.values() for own in labels for label in own}
    lines = 2 + 2 * max(names[label].count("\n") for label in shown)  # two names, where changed
    step, high = IMAGE + RIM, IMAGE + RIM + lines * LINE  # inches from an image to the next
    width, height = 3 * RIM + COLUMNS * step, len(rows) * high
    figure = Figure(figsize=(width, height))
    for row, (client, samples) in enumerate(rows.items(), start=1):
        for column, (image, true, trained) in enumerate(zip(*samples, strict=True)):
            place = (3 * RIM + column * step) / width, 1 - (row * high - RIM / 2) / height
            axes = figure.add_axes((*place, IMAGE / width, IMAGE / height))
            axes.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255)
            axes.set(xticks=[], yticks=[])
            axes.set_ylabel("" if column else client, fontsize=LETTERS)
            text, color, rim = names[trained], "black", 0.5
            if true != trained:
                text, color, rim = f"{names[true]}\n→ {names[trained]}", changed, 2
            axes.set_title(text, fontsize=LETTERS, color=color, pad=3)
            axes.spines[:].set(color=color, linewidth=rim)
    return figure


def pick_samples(true: Labels, trained: Labels, generator: Generator) -> Labels:
    """Which of a shard's images to show: up to half changed ones, then others, at random."""
    order = generator.permutation(len(true))
    is_changed = (true != trained)[order]
    changed, others = order[is_changed][: COLUMNS // 2], order[~is_changed]
    return np.concatenate([changed, others])[:COLUMNS]
