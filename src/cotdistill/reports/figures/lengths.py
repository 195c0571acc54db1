"""How long texts are: how many there are of each length, a line for each series."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from cotdistill.rationales.lengths import bounds
from cotdistill.reports.evidence import Evidence
from cotdistill.reports.figures.canvas import (
    FAINT,
    QUIET,
    SERIES,
    Drawing,
    label,
    legend,
    new_figure,
    without_shared_words,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Histogram = Mapping[str, int]
"""Counts by lower bound (``training/data/lengths.py``)."""
_MAX_SERIES = 8


def draw_example_lengths(evidence: Evidence) -> Drawing | None:
    """Tokens of the examples and of the rationales in them, by arm; None if no arm is trained."""
    known = {name: arm.lengths for name, arm in evidence.arms.items() if arm.lengths}
    if not known:
        return None
    panels = {
        "prompt and response": {name: found["tokens"] for name, found in known.items()},
        "rationale alone": {name: found["reasoning"] for name, found in known.items()},
    }
    figure, grid = histograms(panels, "tokens")
    for limit in {found["limit"] for found in known.values() if found["cut"] or found["too_long"]}:
        grid[0].axvline(limit, color=QUIET, linewidth=1, linestyle=":")
    caption = (
        "How many examples have how many tokens, before anything is cut or left out. A dotted line is a limit that is "
        "exceeded."
    )
    return Drawing("lengths", "Length of the examples", caption, figure, "training")


def histograms(panels: Mapping[str, Mapping[str, Histogram]], unit: str) -> tuple[Figure, list[Axes]]:
    """Panels from top to bottom, each with its series on an axis of lengths in powers of two; equal ones are drawn
    once."""
    figure, grid = new_figure(2.0 + 1.4 * (len(panels) - 1) + 0.6, rows=len(panels))
    for axes, (title, series) in zip(grid, panels.items(), strict=True):
        _draw(axes, _distinct(series))
        label(axes, y="texts", title=title)
    label(grid[-1], x=unit)
    legend(grid[0])
    return figure, grid


def _distinct(series: Mapping[str, Histogram]) -> dict[str, Histogram]:
    """Series that are the same, under one name."""
    groups: list[tuple[list[str], Histogram]] = []
    for name, found in series.items():
        same = next((names for names, other in groups if other == found), None)
        if same is None:
            groups.append(([name], found))
        else:
            same.append(name)
    names = [one[0] + (f" and {len(one) - 1} more" if len(one) > 1 else "") for one, _ in groups]
    return dict(zip(without_shared_words(names), (found for _, found in groups), strict=True))


def _draw(axes: Axes, series: Mapping[str, Histogram]) -> None:
    axes.set_xscale("log", base=2)
    for index, (name, found) in enumerate(list(series.items())[:_MAX_SERIES]):
        edges = bounds(min(map(int, found)), max(map(int, found)))
        counts = [found.get(str(bound), 0) for bound in edges[:-1]]
        axes.stairs(
            counts, [max(0.5, edge) for edge in edges], linewidth=1.8, label=name, color=SERIES[index % len(SERIES)]
        )
    axes.xaxis.set_major_formatter(lambda value, place: f"{value:,.0f}")
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
