"""The figure of a report: accuracy with its interval by arm. matplotlib is loaded when a figure is drawn, not before.

Figures are drawn on their own canvas and never through pyplot: no global state, no display, safe beside a user's plots.
"""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cotdistill.records import Score
from cotdistill.reports.run_report import BASE, TEACHER, RunReport
from cotdistill.reports.tables import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart with every kind of colour vision; shape says the same as colour.
_STUDENT: dict[str, Any] = {"color": "#0072B2", "marker": "o"}
_STYLES: dict[str, dict[str, Any]] = {
    BASE: {"color": "#595959", "marker": "o", "markerfacecolor": "white"},
    TEACHER: {"color": "#D55E00", "marker": "D", "markerfacecolor": "white"},
}
_INK, _FAINT = "#262626", "#d9d9d9"
_WIDTH, _ARM_HEIGHT, _FRAME_HEIGHT, _LINE_HEIGHT = 7.2, 0.42, 1.25, 0.25  # inches


def accuracy_figure(report: RunReport) -> Figure:
    """Arms from top to bottom in their order, accuracy in percent with its 95 % interval."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    title = textwrap.fill(one_line(report.question or report.name), width=64)
    height = _FRAME_HEIGHT + _ARM_HEIGHT * len(report.arms) + _LINE_HEIGHT * title.count("\n")
    figure = Figure(figsize=(_WIDTH, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=13, color=_INK, pad=10, parse_math=False)
    _draw_frame(axes, report)
    for row, (name, arm) in enumerate(report.arms.items()):
        _draw_arm(axes, row, arm.score, _STYLES.get(name, _STUDENT))
    return figure


def _draw_arm(axes: Axes, row: int, score: Score, style: dict[str, Any]) -> None:
    accuracy, low, high = 100 * score.accuracy, 100 * score.interval[0], 100 * score.interval[1]
    axes.errorbar(
        accuracy,
        row,
        xerr=[[max(0.0, accuracy - low)], [max(0.0, high - accuracy)]],  # rounding may go below zero
        markersize=8,
        markeredgewidth=1.8,
        elinewidth=1.8,
        capsize=3.5,
        capthick=1.8,
        clip_on=False,
        **style,
    )
    axes.annotate(
        f"{accuracy:.1f}",
        (high, row),
        xytext=(10, 0),
        textcoords="offset points",
        verticalalignment="center_baseline",
        fontsize=11,
        color=_INK,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
    )


def _draw_frame(axes: Axes, report: RunReport) -> None:
    """Everything around the points: axis, names, a faint line at the base for comparison by eye."""
    from matplotlib.ticker import MaxNLocator

    highest = 100 * max(arm.score.interval[1] for arm in report.arms.values())
    ticks = [tick for tick in MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(0, highest) if tick <= 100]
    axes.set_xticks(ticks)
    axes.set_xlim(0, max(ticks[-1], 1.1 * highest))
    names = [textwrap.shorten(one_line(name), 40, placeholder=" ...") for name in report.arms]
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(range(len(names)), names, fontsize=12)
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
    axes.set_xlabel(f"accuracy in %, with 95 % interval ({_num_items(report)})", fontsize=11, color=_INK)
    axes.tick_params(axis="y", length=0, pad=9, colors=_INK)  # a point at 0 is drawn over the edge
    axes.tick_params(axis="x", labelsize=11, colors=_INK)
    axes.grid(axis="x", color=_FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    if BASE in report.arms:
        axes.axvline(100 * report.arms[BASE].score.accuracy, color=_STYLES[BASE]["color"], linewidth=1, linestyle=":")


def _num_items(report: RunReport) -> str:
    numbers = sorted({arm.score.n for arm in report.arms.values()})
    return f"{numbers[0]} items" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]} items"


def write_figure(figure: Figure, path: Path) -> None:
    """Save in the format that the suffix of ``path`` names (png at 200 dots an inch, svg), all of it or nothing."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        metadata = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(temporary, format=path.suffix.removeprefix("."), dpi=200, metadata=metadata)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
