"""Learning curves: the training loss by step, and what validation found on held-out questions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cotdistill.reports.evidence import Curve, Evidence, Watched
from cotdistill.reports.figures.canvas import FAINT, INK, SERIES, Drawing, label, legend, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_PANELS, _MAX_NAMED = 3, 8


def draw_curves(evidence: Evidence) -> Drawing | None:
    """A panel for each kind of loss, since values of different losses cannot be compared; None without any."""
    panels: dict[str, list[tuple[str, Curve, Watched | None]]] = {}
    for name, arm in evidence.arms.items():
        for cell in arm.cells:
            if cell.curve is not None and len(cell.curve.steps) > 1:
                panels.setdefault(cell.curve.loss, []).append((name, cell.curve, cell.watched))
    if not panels:
        return None
    kept = list(panels.items())[:_MAX_PANELS]
    figure, grid = new_figure(2.9 * len(kept), rows=len(kept))
    for axes, (loss, curves) in zip(grid, kept, strict=True):
        _draw_panel(axes, curves)
        label(axes, y="loss", title=loss)
        legend(axes)
    label(grid[-1], x="step")
    caption = "Training loss by step, one panel per loss; values of different losses cannot be compared."
    if any(watched for curves in panels.values() for *_, watched in curves):
        caption += " Dots on a dashed line: loss on held-out questions; a ring is around the step that was kept."
    return Drawing("curves", "Learning curves", caption, figure, "training")


def _draw_panel(axes: Axes, curves: list[tuple[str, Curve, Watched | None]]) -> None:
    """Seeds of an arm share its colour, and its name is given once."""
    from matplotlib.ticker import MaxNLocator

    names = list(dict.fromkeys(name for name, *_ in curves))
    named: set[str] = set()
    for name, curve, watched in curves:
        index = names.index(name)
        axes.plot(
            curve.steps,
            curve.values,
            color=SERIES[index % len(SERIES)],
            linestyle=("-", "--", ":")[index // len(SERIES) % 3],
            linewidth=1.3,
            alpha=0.9 if len(names) <= _MAX_NAMED else 0.45,
            label=None if name in named or len(names) > _MAX_NAMED else name,
        )
        named.add(name)
        if watched:
            _draw_checks(axes, watched, watched.losses, SERIES[index % len(SERIES)])
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.grid(color=FAINT, linewidth=0.6)


def draw_checks(evidence: Evidence) -> Drawing | None:
    """The accuracy on held-out questions by step, a line for each student; None without any."""
    from matplotlib.ticker import MaxNLocator

    arms = {
        name: found
        for name, arm in evidence.arms.items()
        if (found := [cell.watched for cell in arm.cells if cell.watched and cell.watched.accuracies[0] is not None])
    }
    if not arms:
        return None
    figure, (axes,) = new_figure(2.9)
    for index, (name, found) in enumerate(arms.items()):
        for place, watched in enumerate(found):
            percent = [value and 100 * value for value in watched.accuracies]
            told = name if place == 0 and len(arms) <= _MAX_NAMED else None
            _draw_checks(axes, watched, percent, SERIES[index % len(SERIES)], told)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_ylim(bottom=0)
    axes.grid(color=FAINT, linewidth=0.6)
    label(axes, x="step", y="accuracy in percent")
    legend(axes)
    caption = "Accuracy on held-out questions while training; a ring is around the step that was kept."
    return Drawing("checks", "Held-out questions while training", caption, figure, "training")


def _draw_checks(
    axes: Axes, watched: Watched, values: Sequence[float | None], colour: str, name: str | None = None
) -> None:
    points = [(step, value) for step, value in zip(watched.steps, values, strict=True) if value is not None]
    if not points:
        return
    axes.plot(*zip(*points, strict=True), color=colour, linestyle="--", linewidth=1, marker="o", ms=3, label=name)
    kept = [point for point in points if point[0] == watched.kept]
    for step, value in kept:
        axes.plot([step], [value], color=INK, linestyle="none", marker="o", ms=9, markerfacecolor="none")
