"""How every picture looks, and how it is written."""

import io
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.layout_engine import ConstrainedLayoutEngine

from extra_utils.basics.files import write_whole
from extra_utils.run.metrics import Row

# Okabe and Ito's colours, and of Tol's one in place of a yellow that is pale in print
GLOBAL, ATTACKER, ATTACKER_MARK = "black", "#D55E00", ">"  # in all pictures
HONEST = ["#0072B2", "#009E73", "#56B4E9", "#CC79A7", "#E69F00", "#332288"]
FORMATS: dict[str, dict[str, Any]] = {  # and what keeps dates and versions out of the files
    "png": {"Software": ""},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    "svg": {"Creator": None, "Date": None},
}
WIDTH, PAD, SAMPLE = 6.4, 0.08, 0.7  # inches: an A4 page's text, the rim, a legend's line
MOST_ROOM = 100.0  # inches of height, until it is known what is needed
TITLE, LABEL, TEXT, SMALL = 10, 9, 8, 7  # sizes of letters, in points
LINE = 1.35 / 72  # inches of a line by its letters' size
MOST_TICKS = 12  # of numbered rows or columns
MOST_NAMES = 40  # rows or columns that are named
NAME = 1.5  # inches of a class's name
TILTED = 0.17  # inches of a column under which its name stands upright
SLANTED: dict[str, Any] = {"rotation_mode": "anchor", "ha": "right", "va": "center"}
STEPS = [number * 10**power for power in range(9) for number in (1, 2, 5)]
CHINESE_FONTS = ["Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "SimHei"]
UNUSABLE_FONTS = "last.?resort|blank|notdef|emoji"  # they have a box, or coloured dots, for all

mpl.rcdefaults()  # the user's own matplotlibrc may ask for LaTeX, or for white on white
mpl.rcParams.update({
    "text.parse_math": False,  # a $ in a name is a $
    "text.hinting": "none",  # a line is as wide in every format, and as its letters sum to
    "font.family": ["DejaVu Sans"],  # others follow where a name needs them
    "font.size": TEXT, "axes.labelsize": LABEL, "legend.framealpha": 0.0, "figure.dpi": 160,
    "legend.edgecolor": "none", "svg.hashsalt": "federated", "pdf.fonttype": 42,
})  # fmt: skip


def new_figure(panels: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure and its panels side by side; how high they are ``arrange`` says."""
    figure = Figure(figsize=(WIDTH, MOST_ROOM))
    figure.subplots(1, panels)
    return figure, figure.axes


def arrange(figure: Figure, title: str, setting: str, height: float | None = None) -> None:
    """Gives labels, legend and title the room that they need.

    The panels become ``height`` inches high; without it the figure grows by the title alone."""
    curves = [curve for axes in figure.axes for curve in axes.get_legend_handles_labels()[0]]
    if found := {str(curve.get_label()): curve for curve in curves}:
        columns = max(1, int(WIDTH / (SAMPLE + max(width_of(name, TEXT) for name in found))))
        names = [in_lines(name, WIDTH - SAMPLE, TEXT) for name in found]
        how: dict[str, Any] = {"loc": "outside lower left", "handlelength": 3, "ncols": columns}
        figure.legend(found.values(), names, **how)
    layout = ConstrainedLayoutEngine(w_pad=PAD, h_pad=PAD)
    if figure.axes:
        layout.execute(figure)
    if height is not None:
        panel = figure.axes[0].get_window_extent().height / figure.dpi
        figure.set_figheight(figure.get_figheight() + height - panel)
        layout.execute(figure)
    add_head(figure, title, setting)


def add_head(figure: Figure, title: str, setting: str) -> None:
    """The title on top, and under it the setting in small print; the figure grows by them."""
    width, height = figure.get_size_inches()
    title = in_lines(title, width - 2 * PAD, TITLE)
    setting = in_lines(setting, width - 2 * PAD, SMALL)
    first = PAD + TITLE * LINE * (1 + title.count("\n"))
    total = height + first + SMALL * LINE * (1 + setting.count("\n"))
    for axes in figure.axes:
        x, y, wide, high = axes.get_position().bounds
        axes.set_position((x, y * height / total, wide, high * height / total))
    figure.set_size_inches(width, total)
    how: dict[str, Any] = {"x": PAD / width, "ha": "left", "va": "top"}
    figure.suptitle(title, y=1 - PAD / total, fontsize=TITLE, **how)
    figure.text(y=1 - first / total, s=setting, fontsize=SMALL, color="0.3", **how)


def number_ticks(axis: Axis, numbers: Sequence[int]) -> None:
    """Ticks at 0, 1, ... with these ascending numbers, the round ones alone where they are many."""
    step = next(step for step in STEPS if len(numbers) <= MOST_TICKS * step)
    places = [place for place, number in enumerate(numbers) if number % step == 0]
    axis.set_ticks(places, [str(numbers[place]) for place in places])


def name_classes(axes: Axes, names: list[str], is_both: bool) -> None:
    """Under columns, or beside rows, too; of many some numbers."""
    axes.set_xlabel("class")
    if is_both:
        axes.set(xlabel="predicted", ylabel="true")
    if len(names) > MOST_NAMES:
        number_ticks(axes.xaxis, range(len(names)))
        return
    names, how = [shortened(name, NAME, TEXT) for name in names], {}
    column = (WIDTH - 2 * NAME) / len(names)
    if max(width_of(name, TEXT) for name in names) > column - PAD:
        angle, size = (45, TEXT) if column > TILTED else (90, SMALL - 1)
        how = {"rotation": angle, "fontsize": size, **SLANTED}
    axes.set_xticks(range(len(names)), names, **how)
    if is_both:
        axes.set_yticks(range(len(names)), names)


def name_clients(axes: Axes, rows: list[Row]) -> None:
    """Beside rows: attackers in their colour, flagged bold; of many some numbers, and arrows."""
    if len(rows) > MOST_NAMES:
        for key, color, place, marker in (("attacker", ATTACKER, 0, 5), ("flagged", "black", 1, 4)):
            marked = [number for number, row in enumerate(rows) if row[key]]
            size, by_row = min(5.5, 55 / len(rows) ** 0.5), axes.get_yaxis_transform()
            how: dict[str, Any] = {"clip_on": False, "in_layout": False, "scaley": False, "ls": ""}
            how |= {"transform": by_row, "color": color, "marker": marker, "markersize": size}
            axes.plot([place] * len(marked), marked, **how)
        number_ticks(axes.yaxis, [row["client"] for row in rows])
        axes.set_ylabel("client (▸ attacker, ◂ flagged)")
        return
    notes = [", ".join(key for key in ("attacker", "flagged") if row[key]) for row in rows]
    both = zip(rows, notes, strict=True)
    names = [f"client {row['client']}" + f" ({note})" * bool(note) for row, note in both]
    axes.set_yticks(range(len(rows)), names)
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_color(ATTACKER if row["attacker"] else "black")
        label.set_fontweight("bold" if row["flagged"] else "normal")


def marks(number: int, **how: Any) -> dict[str, Any]:
    """How a curve of so many points is marked: a dozen times in all."""
    every = max(1, -(-number // MOST_TICKS))
    edge = {"markeredgecolor": "white", "markeredgewidth": 0.5}
    return {"markersize": 5, "markevery": every, **edge, **how}


def in_lines(text: str, width: float, size: float, behind: str = " ") -> str:
    """The text in lines of at most ``width`` inches, broken behind these marks where words fit."""
    lines, start = [], 0
    for end in range(1, len(text) + 1):
        while end - start > 1 and width_of(text[start:end], size) > width:
            mark = max(text.rfind(mark, start, end - 1) for mark in behind) + 1
            cut = mark if mark > start else end - 1
            lines.append(text[start:cut].rstrip(" ·"))
            start = cut
    return "\n".join([*lines, text[start:]])


def shortened(text: str, width: float, size: float) -> str:
    """A name of at most ``width`` inches; what is left out is in its middle: the end may differ."""
    short, kept = text, len(text)
    while width_of(short, size) > width and kept > 1:
        kept -= 1
        short = f"{text[: kept - kept // 2]}…{text[len(text) - kept // 2 :]}"
    return short


def width_of(text: str, size: float) -> float:
    """Inches of a line in letters of this size."""
    return sum(advance(character) or 0.0 for character in text) * size / 72


@cache
def advance(character: str) -> float | None:
    """A character's width by its size, from the first font that has it; None where none has."""
    for family in families():
        font = get_font(findfont(FontProperties(family=family)))
        if font.get_char_index(ord(character)):
            if family not in mpl.rcParams["font.family"]:
                mpl.rcParams["font.family"] = [*mpl.rcParams["font.family"], family]
            font.set_size(SMALL, 72)
            return font.load_char(ord(character)).linearHoriAdvance / 65536 / SMALL
    return None


def families() -> Iterator[str]:
    """The fonts in use, and then all that matplotlib has found installed."""
    yield from mpl.rcParams["font.family"]
    upright = {f.name for f in fontManager.ttflist if f.style == "normal" and f.weight == 400}
    names = {name for name in upright if not re.search(UNUSABLE_FONTS, name, re.IGNORECASE)}
    yield from [*(name for name in CHINESE_FONTS if name in names), *sorted(names)]


def save(figure: Figure, path: Path) -> None:
    """Writes the figure as its name's ending says, whole or not at all."""
    form, buffer = path.suffix[1:], io.BytesIO()
    figure.savefig(buffer, format=form, metadata=FORMATS[form])
    write_whole(path, buffer.getvalue())
