"""Accuracy of every arm on every task, as a map of colours."""

from __future__ import annotations

from cotdistill.reports.evidence import Evidence
from cotdistill.reports.figures.canvas import WIDTH, Drawing, label, names_down, new_figure
from cotdistill.reports.texts import short

_MAX_NUMBERS, _SMALLEST = 600, 5.0
"""More cells than this are too small to hold their number, as are those in which it would be smaller, in points."""

DARK_CELL, LIGHT_CELL = "#fafafa", "#1a1a1a"
"""Ink on dark and on light cells: the map keeps its colours on a dark page, and so must its numbers."""


def draw_tasks(evidence: Evidence) -> Drawing | None:
    """None if there are fewer than two tasks or two arms."""
    import numpy as np

    tasks, arms = evidence.tasks, list(evidence.arms)
    if len(tasks) < 2 or len(arms) < 2:
        return None
    found = evidence.task_accuracies.values()
    values = np.array([[100 * one.get(task, np.nan) for task in tasks] for one in found])
    figure, (axes,) = new_figure(1.9 + (0.34 if len(arms) <= 24 else 0.22) * len(arms))
    edges = (np.arange(len(tasks) + 1) - 0.5, np.arange(len(arms) + 1) - 0.5)
    highest = 10 * np.ceil(max(1.0, np.nanmax(values)) / 10)
    mesh = axes.pcolormesh(*edges, values, cmap="cividis", vmin=0, vmax=highest, linewidth=0)
    names_down(axes, arms)
    axes.set_ylim(len(arms) - 0.5, -0.5)
    names = [short(_last(task), 26) for task in tasks]
    wide = _cell_width(arms, tasks)
    axes.set_xticks(range(len(tasks)), names, rotation=90, fontsize=min(10.0, 0.8 * wide))
    for text in axes.get_xticklabels():
        text.set_parse_math(False)
    axes.spines[:].set_visible(False)
    size = min(10.0, wide / 2)  # of three digits
    if values.size <= _MAX_NUMBERS and size >= _SMALLEST:
        for (row, column), value in np.ndenumerate(values):
            if not np.isnan(value):
                ink = DARK_CELL if value < 0.52 * highest else LIGHT_CELL
                axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=size, color=ink)
    bar = figure.colorbar(mesh, ax=axes, pad=0.02, aspect=30)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    bar.ax.tick_params(length=0, labelsize=10, colors="#262626")
    label(bar.ax, y="accuracy in %")
    caption = "Accuracy in percent by arm and task, the mean over seeds; a gap is a task that an arm was not tested on."
    return Drawing("tasks", "Accuracy by task", caption, figure)


def _cell_width(arms: list[str], tasks: list[str]) -> float:
    """About how many points a cell is wide, beside the names of arms and the bar."""
    names = 5.0 * min(40, max(map(len, arms)))
    return (72 * WIDTH - names - 80) / len(tasks)


def _last(task: str) -> str:
    """The part of a task's name that tells it apart within its family."""
    return task.rsplit("/", 1)[-1]
