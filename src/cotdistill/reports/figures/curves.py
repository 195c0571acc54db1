"""Learning curves: the training loss by step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cotdistill.reports.evidence import Curve, Evidence
from cotdistill.reports.figures.canvas import FAINT, SERIES, Drawing, label, legend, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_PANELS, _MAX_NAMED = 3, 8


def draw_curves(evidence: Evidence) -> Drawing | None:
    """A panel for each kind of loss, since values of different losses cannot be compared; None without any."""
    panels: dict[str, list[tuple[str, Curve]]] = {}
    for name, arm in evidence.arms.items():
        for cell in arm.cells:
            if cell.curve is not None and len(cell.curve.steps) > 1:
                panels.setdefault(cell.curve.loss, []).append((name, cell.curve))
    if not panels:
        return None
    kept = list(panels.items())[:_MAX_PANELS]
    figure, grid = new_figure(2.9 * len(kept), rows=len(kept))
    for axes, (loss, curves) in zip(grid, kept, strict=True):
        _draw_panel(axes, curves)
        label(axes, y="training loss", title=loss)
        legend(axes)
    label(grid[-1], x="step")
    caption = "Training loss by step, one panel per loss; values of different losses cannot be compared."
    return Drawing("curves", "Learning curves", caption, figure, "training")


def _draw_panel(axes: Axes, curves: list[tuple[str, Curve]]) -> None:
    """Seeds of an arm share its colour, and its name is given once."""
    from matplotlib.ticker import MaxNLocator

    names = list(dict.fromkeys(name for name, _ in curves))
    named: set[str] = set()
    for name, curve in curves:
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
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.grid(color=FAINT, linewidth=0.6)
