"""No text leaves a picture or lies on another, and no legend covers a curve, whatever the run."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from extra_utils.plots import style
from extra_utils.plots.comparison import compare_runs
from extra_utils.plots.draw import draw_run
from extra_utils.plots.run_data import say_once
from tests.extra_utils.plots.conftest import Shown
from tests.extra_utils.plots.made_runs import CASES, make_group, make_run

TOUCHES = 1.0  # pixels by which two boxes may meet


def meet(one: Bbox, other: Bbox) -> bool:
    both = Bbox.intersection(one, other)
    return both is not None and min(both.width, both.height) > TOUCHES


def box_of(text: Text) -> Bbox:
    return text.get_window_extent()


def texts_around(figure: Figure) -> Iterator[tuple[str, Text]]:
    """Every text that is seen but those in cells and legends, with what it is."""
    for text in figure.texts:
        yield "head", text
    for number, axes in enumerate(figure.axes):
        for axis in (axes.xaxis, axes.yaxis):
            yield "axis label", axis.label
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks():
                if low - 1e-9 <= tick.get_loc() <= high + 1e-9:  # others are not drawn
                    yield f"tick of {axis.axis_name} {number}", tick.label1
                    yield f"tick of {axis.axis_name} {number}", tick.label2


def faults(figure: Figure) -> list[str]:
    """What is wrong with where things are, by matplotlib's own extents."""
    figure.draw_without_rendering()
    found = []
    around = [(k, t) for k, t in texts_around(figure) if t.get_visible() and t.get_text().strip()]
    texts = [text for _, text in around]
    texts += [text for legend in figure.legends for text in legend.get_texts()]
    texts += [text for axes in figure.axes for text in axes.texts]
    for text in texts:
        box, whole = box_of(text), figure.bbox
        if box.x0 < 0 or box.y0 < 0 or box.x1 > whole.x1 or box.y1 > whole.y1:
            found.append(f"{text.get_text()!r} leaves the figure")
    for (kind, one), (other_kind, other) in combinations(around, 2):
        slanted = kind == other_kind and one.get_rotation() % 90 != 0
        if lie_close(one, other) if slanted else meet(box_of(one), box_of(other)):
            found.append(f"{one.get_text()!r} lies on {other.get_text()!r}")
    return [*found, *legend_faults(figure, [text for _, text in around])]


def lie_close(one: Text, other: Text) -> bool:
    """Whether two parallel slanted names have less than a line's height between them."""
    figure = one.get_figure(root=True)
    assert figure is not None
    places = [t.get_transform().transform(t.get_position())[0] for t in (one, other)]
    height = np.sin(np.radians(one.get_rotation())) * abs(places[0] - places[1])
    return bool(height < float(one.get_fontsize()) * figure.dpi / 72)


def legend_faults(figure: Figure, texts: list[Text]) -> Iterator[str]:
    for legend in figure.legends:
        box = legend.get_window_extent()
        for axes in figure.axes:
            for line in axes.get_lines():
                places = line.get_transform().transform(np.asarray(line.get_xydata()))
                if any(box.contains(x, y) for x, y in places):
                    yield f"the legend covers {line.get_label()!r}"
            if meet(box, axes.get_window_extent()):
                yield "the legend lies on the axes"
        for text in texts:
            if meet(box, box_of(text)):
                yield f"the legend lies on {text.get_text()!r}"


@pytest.mark.parametrize("case", CASES)
def test_every_text_has_its_place(case: str, tmp_path: Path, shown: Shown) -> None:
    draw_run(make_run(tmp_path / "run", CASES[case]))
    assert len(shown.figures) >= (3 if case == "not-begun" else 5)
    assert {
        name: found for name, figure in shown.figures.items() if (found := faults(figure))
    } == {}
    for figure in shown.figures.values():
        assert figure.get_figwidth() == pytest.approx(style.WIDTH, rel=0.7)


def test_a_comparison_has_its_place_for_every_text(tmp_path: Path, shown: Shown) -> None:
    compare_runs(make_group(tmp_path))
    assert faults(shown.figures["comparison.png"]) == []


def bad_figure() -> Figure:
    figure, (axes,) = style.new_figure()
    axes.plot(np.linspace(0, 1, 50), np.linspace(0, 1, 50), label="curve")
    axes.set(xlabel="round", ylabel="accuracy (%)")
    style.arrange(figure, "title", "setting", 2)
    return figure


def test_the_check_can_fail() -> None:
    assert faults(bad_figure()) == []
    figure = bad_figure()
    figure.text(0.9, 0.5, "a text that is too long to stand here")
    assert any("leaves the figure" in fault for fault in faults(figure))
    figure = bad_figure()
    figure.axes[0].set_xlabel("round\n\n\n\nbelow all")
    assert any("leaves the figure" in fault for fault in faults(figure))
    figure = bad_figure()
    figure.axes[0].set_xlabel("round after round after round", labelpad=-12)
    assert any("'round after round after round' lies on" in fault for fault in faults(figure))
    figure = bad_figure()
    figure.legends[0].set_bbox_to_anchor((0.4, 0.45), figure.transFigure)
    assert {"the legend covers 'curve'", "the legend lies on the axes"} <= set(faults(figure))
    for angle in (0, 45):
        figure = bad_figure()
        figure.axes[0].set_xticks([0.5, 0.51], ["one name", "another"], rotation=angle)
        assert any("'one name' lies on 'another'" in fault for fault in faults(figure))


def test_what_no_font_has_is_shown_as_its_code_and_said_once(
    tmp_path: Path, shown: Shown, capsys: pytest.CaptureFixture[str]
) -> None:
    say_once.cache_clear()
    run = make_run(tmp_path / "run", CASES["strange-names"])
    for _ in range(2):
        draw_run(run)
    notes = [line for line in capsys.readouterr().err.splitlines() if "font" in line]
    assert len(notes) == 1
    assert "ไ" in notes[0]
    texts = [t.get_text() for t in shown.figures["confusion_matrix.png"].axes[0].get_yticklabels()]
    assert any(text.startswith("\\u0e44") for text in texts)
    assert texts[0] == "$x^2$"
