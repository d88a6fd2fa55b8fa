"""How every picture looks, and how it is written."""

import io
import warnings
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from extra_utils.basics.files import write_whole

CHINESE_FONTS = ["Noto Sans CJK SC", "WenQuanYi Zen Hei", "SimHei", "Arial Unicode MS"]

mpl.rcdefaults()  # the user's own matplotlibrc may ask for LaTeX, or for white on white
mpl.rcParams["text.parse_math"] = False  # a $ in a name is a $
mpl.rcParams["font.sans-serif"] = ["DejaVu Sans", *CHINESE_FONTS]


def save(figure: Figure, path: Path) -> None:
    """Writes the figure as PNG, whole or not at all."""
    buffer, no_version = io.BytesIO(), {"Software": ""}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a box stands for what no font has
        figure.savefig(buffer, format="png", dpi=120, bbox_inches="tight", metadata=no_version)
    write_whole(path, buffer.getvalue())
