"""What accuracy costs, once in rationales and training and then with every answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cotdistill.evaluation.statistics.comparisons import tokens_interval
from cotdistill.records import Score
from cotdistill.reports.evidence import TEACHER, Evidence
from cotdistill.reports.figures.canvas import (
    FAINT,
    QUIET,
    Drawing,
    arm_style,
    label,
    name_points,
    new_figure,
    without_shared_words,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COSTS = {
    "cost": "money for rationales",
    "training_tokens": "training tokens",
}
"""The extras that can be a cost before a student is used, the most telling first, each with its label."""

_MAX_NAMES = 14
Interval = tuple[float, float]
Points = dict[str, tuple[float, Score]]
"""Cost and score by arm."""


def draw_cost(evidence: Evidence) -> Drawing | None:
    """Accuracy over the first cost that differs between at least two trained arms; None if there is none."""
    for key, words in _COSTS.items():
        points = _points(evidence, key)
        if len({cost for cost, _ in points.values()}) > 1:
            return _draw(evidence, points, "cost", words)
    return None


def draw_tokens(evidence: Evidence) -> Drawing | None:
    """Accuracy over the tokens of an answer, with intervals of both; None if fewer than two trained arms differ."""
    points = _points(evidence, "output_tokens")
    if len({cost for cost, _ in points.values()}) < 2:
        return None
    cells = {name: [cell.predictions for cell in evidence.arms[name].cells] for name in points}
    intervals = {name: tokens_interval(seeds) for name, seeds in cells.items() if seeds}
    return _draw(evidence, points, "tokens", "tokens per output, mean", intervals)


def _draw(evidence: Evidence, points: Points, name: str, words: str, intervals: Mapping[str, Interval] = {}) -> Drawing:
    figure, (axes,) = new_figure(3.8)
    _scale(axes, [cost for cost, _ in points.values()])
    axes.grid(color=FAINT, linewidth=0.6)
    for arm, (cost, score) in points.items():
        error = _error(100 * score.accuracy, [100 * bound for bound in score.interval])
        across = _error(cost, intervals[arm]) if arm in intervals else None
        style = {"markersize": 7, "elinewidth": 1.2, "clip_on": False} | arm_style(arm, evidence)
        axes.errorbar(cost, 100 * score.accuracy, xerr=across, yerr=error, **style)
    if len(evidence.bases) == 1:
        axes.axhline(100 * evidence.arms[evidence.bases[0]].score.accuracy, color=QUIET, linewidth=1, linestyle=":")
    axes.set_ylim(bottom=0)
    axes.margins(x=0.1)
    if len(points) <= _MAX_NAMES:
        places = [(cost, 100 * score.accuracy) for cost, score in points.values()]
        name_points(axes, without_shared_words(list(points)), places)
    label(axes, x=words, y="accuracy in %")
    dotted = "; the dotted line is the base" if len(evidence.bases) == 1 else ""
    caption = f"Accuracy against {words}, with 95 % intervals; up and to the left is better{dotted}."
    return Drawing(name, f"Accuracy against {words}", caption, figure)


def _error(value: float, bounds: Sequence[float]) -> list[list[float]]:
    """How far an interval reaches down and up from a value, as errorbar wants it."""
    low, high = bounds
    return [[max(0.0, value - low)], [max(0.0, high - value)]]


def _points(evidence: Evidence, key: str) -> Points:
    """The trained arms whose cost of this kind is known."""
    return {
        name: (float(cost), arm.score)
        for name, arm in evidence.arms.items()
        if isinstance(cost := arm.extras.get(key), int | float)
        and cost > 0
        and name not in evidence.bases
        and name != TEACHER
    }


def _scale(axes: Axes, costs: list[float]) -> None:
    from matplotlib.ticker import LogLocator

    spread = max(costs) / min(costs)
    if spread > 20:
        axes.set_xscale("log")
        axes.minorticks_off()
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if spread < 100 else (1,)))
    else:
        axes.locator_params(axis="x", nbins=5)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
