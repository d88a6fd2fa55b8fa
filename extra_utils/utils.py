"""The split into training and validation, the class table, and the image viewer."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from extra_utils.basics.files import write_whole
from extra_utils.my_dataset import Images, Labels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 8  # images in a row of the viewer
LETTERS = 18  # of a class's name that are as wide as an image


def split_by_class(
    labels: Labels, rate: float, generator: np.random.Generator
) -> tuple[Labels, Labels]:
    """Indices for training and for validation: of each class the rate's share, at least one.

    A class of a single image keeps it for training. Both are ascending.
    """
    is_held_out = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        size = max(1, round(rate * len(members))) if len(members) > 1 else 0
        is_held_out[members[:size]] = True
    return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)


def save_class_indices(run_dir: Path, class_names: list[str]) -> None:
    """Class number to class name as JSON, UTF-8 and not escaped."""
    text = json.dumps(dict(enumerate(class_names)), ensure_ascii=False, indent=2) + "\n"
    write_whole(run_dir / "class_indices.json", text.encode("utf-8", "backslashreplace"))


def draw_samples(
    rows: dict[str, tuple[Images, Labels, Labels]], names: list[str], title: str, changed: str
) -> "Figure":
    """Each row's images [N, H, W, C] under their labels, changed ones in the colour ``changed``.

    A row is (images, true labels, labels trained on), by the client's name.
    """
    from matplotlib.figure import Figure  # not before the ranks are done: they have no use for it

    names = [in_lines(name) for name in names]
    most = max(name.count("\n") for name in names)  # line breaks: up to two names stand on an image
    figure = Figure(figsize=(1.35 * COLUMNS, (1.75 + 0.27 * most) * len(rows) + 0.6))
    figure.suptitle(title)
    for row, (client, samples) in enumerate(rows.items()):
        for column, (image, true, trained) in enumerate(zip(*samples, strict=True)):
            axes = figure.add_subplot(len(rows), COLUMNS, row * COLUMNS + column + 1)
            axes.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255)
            axes.set(xticks=[], yticks=[])
            axes.set_ylabel("" if column else client, fontsize=8)
            is_changed = true != trained
            text = f"{names[true]}\n→ {names[trained]}" if is_changed else names[trained]
            color = changed if is_changed else "black"
            axes.set_title(text, fontsize=8, color=color)
            axes.spines[:].set(color=color, linewidth=2 if is_changed else 0.5)
    figure.tight_layout()
    return figure


def in_lines(name: str) -> str:
    """A long name in lines as wide as an image, broken behind its words where they are short."""
    width = LETTERS if name.isascii() else LETTERS // 2
    return "\n".join(re.findall(rf".{{1,{width - 1}}}(?:[-_ ]|$)|.{{1,{width}}}", name))


def pick_samples(true: Labels, trained: Labels, generator: np.random.Generator) -> Labels:
    """Which of a shard's images to show: up to half changed ones, then others, at random."""
    order = generator.permutation(len(true))
    is_changed = (true != trained)[order]
    changed, others = order[is_changed][: COLUMNS // 2], order[~is_changed]
    return np.concatenate([changed, others])[:COLUMNS]
