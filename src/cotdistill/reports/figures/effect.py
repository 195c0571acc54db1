"""What rationales do inside a student: the gold answer's probability with them and without, and attention to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cotdistill.evaluation.statistics.comparisons import mean_interval
from cotdistill.reports.figures.canvas import FAINT, QUIET, SERIES, Drawing, label, names_down, new_figure, rows_height

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cotdistill.reports.effect import EffectGroup

_COLORS = {"all": SERIES[0], "right": SERIES[2], "wrong": SERIES[1]}


def draw_effect(groups: Sequence[EffectGroup]) -> Drawing:
    """A row per group: the spread and mean of its effects, and attention if it was measured."""
    measured = any(group.attention for group in groups)
    figure, grid = new_figure(rows_height(len(groups)) + 0.3, columns=2 if measured else 1)
    names_down(grid[0], [group.name if group.answered == "all" else f"answered {group.answered}" for group in groups])
    grid[0].axvline(0, color=QUIET, linewidth=1, linestyle=":")
    for row, group in enumerate(groups):
        _draw_spread(grid[0], row, group.effects, _COLORS[group.answered])
        if group.attention:
            _draw_spread(grid[1], row, [100 * share for share in group.attention], _COLORS[group.answered])
    for axes in grid:
        axes.grid(axis="x", color=FAINT, linewidth=0.6)
        axes.locator_params(axis="x", nbins=5)
    label(grid[0], x="effect, nats")
    if measured:
        grid[1].set_xlim(left=0)
        grid[1].spines["left"].set_visible(False)
        label(grid[1], x="attention, %")
    caption = (
        "log p of the gold answer with the rationale minus log p without one (the dotted line); +1 is 2.7 times as "
        "likely. Points are means with their 95 % intervals, bars cover the middle half of the questions and thin "
        "lines 90 % of them. Attention is the share that the rationale gets where the answer is predicted."
    )
    return Drawing("effect", "What rationales do to the gold answer's probability", caption, figure)


def _draw_spread(axes: Axes, row: int, values: Sequence[float], color: str) -> None:
    import numpy as np

    low, first, third, high = np.quantile(values, (0.05, 0.25, 0.75, 0.95))
    axes.plot([low, high], [row, row], color=color, linewidth=1.2, alpha=0.6)
    axes.plot([first, third], [row, row], color=color, linewidth=9, alpha=0.3, solid_capstyle="butt")
    mean, below, above = mean_interval(values)
    error = [[max(0.0, mean - below)], [max(0.0, above - mean)]]
    axes.errorbar(mean, row, xerr=error, color=color, marker="o", markersize=7, elinewidth=1.8, capsize=3.5)
