"""Arms one below the other: accuracy with its interval, and the gain of each against its own base."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cotdistill.reports.evidence import Evidence
from cotdistill.reports.figures.canvas import (
    FAINT,
    INK,
    PAPER,
    QUIET,
    SERIES,
    Drawing,
    arm_style,
    label,
    legend,
    names_down,
    new_figure,
    rows_height,
    series_style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_accuracy(evidence: Evidence) -> Drawing:
    """Arms from top to bottom in their order, accuracy in percent with its 95 % interval."""
    figure, (axes,) = new_figure(rows_height(len(evidence.arms)))
    scores = [arm.score for arm in evidence.arms.values()]
    names_down(axes, list(evidence.arms))
    axes.tick_params(axis="y", pad=14)  # room for a point at zero
    _percent_axis(axes, max(score.interval[1] for score in scores))
    label(axes, x=f"accuracy in % ({_num_items(evidence)})")
    if len(evidence.bases) == 1:
        _reference(axes, 100 * evidence.arms[evidence.bases[0]].score.accuracy)
    for row, (name, arm) in enumerate(evidence.arms.items()):
        text = f"{100 * arm.score.accuracy:.1f}"
        _draw_point(axes, row, arm.score.accuracy, arm.score.interval, text, arm_style(name, evidence))
    dotted = "; the dotted line is the base" if len(evidence.bases) == 1 else ""
    seeds = " for new seeds and items" if any(arm.num_seeds > 1 for arm in evidence.arms.values()) else ""
    caption = f"Points are accuracies, lines their 95 % intervals{seeds}{dotted}."
    return Drawing("accuracy", "Accuracy by arm", caption, figure)


def draw_gain(evidence: Evidence) -> Drawing | None:
    """Percentage points gained over the untrained student; None if fewer than two arms have a tested base."""
    gains = list(evidence.gains.values())
    if len(gains) < 2:
        return None
    figure, (axes,) = new_figure(rows_height(len(gains)))
    names_down(axes, [gain.a for gain in gains])
    _reference(axes, 0.0)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    for row, gain in enumerate(gains):
        color = SERIES[2] if gain.difference > 0 else SERIES[1] if gain.difference < 0 else QUIET
        style = {"color": color, "marker": "o"}
        _draw_point(axes, row, gain.difference, gain.interval, f"{100 * gain.difference:+.1f}", style)
    axes.margins(x=0.12)
    label(axes, x="gain in percentage points")
    caption = "Each arm against its own student before training, on the same items; lines are 95 % intervals."
    return Drawing("gain", "Gain over base", caption, figure)


def draw_strength(evidence: Evidence) -> Drawing | None:
    """Gain over the base's own accuracy, a point for each arm and task; None without three different bases."""
    points: dict[str, list[tuple[float, float]]] = {}
    for name, arm in evidence.arms.items():
        if arm.base is None or arm.base not in evidence.arms:
            continue
        base, mine = evidence.task_accuracies[arm.base], evidence.task_accuracies[name]
        group = str(arm.factors.get("student") or arm.base)
        points.setdefault(group, []).extend((base[task], mine[task]) for task in mine if task in base)
    if len({base for pairs in points.values() for base, _ in pairs}) < 3:
        return None
    figure, (axes,) = new_figure(3.6)
    axes.axhline(0, color=QUIET, linewidth=1, linestyle=":")
    axes.grid(color=FAINT, linewidth=0.6)
    for index, (student, pairs) in enumerate(points.items()):
        base = [100 * before for before, _ in pairs]
        gained = [100 * (after - before) for before, after in pairs]
        axes.plot(base, gained, linestyle="none", markersize=6, alpha=0.8, label=student, **series_style(index))
    label(axes, x="accuracy of the untrained student in %", y="gain in points")
    legend(axes, "student")
    caption = "Each point is one arm on one task: does training add more where the student was already strong?"
    return Drawing("strength", "Gain by the student's own strength", caption, figure)


def _reference(axes: Axes, value: float) -> None:
    axes.axvline(value, color=QUIET, linewidth=1, linestyle=":")


def _draw_point(
    axes: Axes, row: int, value: float, interval: tuple[float, float], text: str, style: dict[str, Any]
) -> None:
    low, high = 100 * interval[0], 100 * interval[1]
    axes.errorbar(
        100 * value,
        row,
        xerr=[[max(0.0, 100 * value - low)], [max(0.0, high - 100 * value)]],  # rounding may go below zero
        markersize=8,
        markeredgewidth=1.8,
        elinewidth=1.8,
        capsize=3.5,
        capthick=1.8,
        clip_on=False,
        **style,
    )
    axes.annotate(
        text,
        (high, row),
        xytext=(10, 0),
        textcoords="offset points",
        verticalalignment="center_baseline",
        fontsize=11,
        color=INK,
        bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1.5},
    )


def _percent_axis(axes: Axes, highest: float) -> None:
    """From 0 to just above the highest interval, which is a fraction."""
    from matplotlib.ticker import MaxNLocator

    ticks = [tick for tick in MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(0, 100 * highest) if tick <= 100]
    axes.set_xticks(ticks)
    axes.set_xlim(0, max(ticks[-1], 110 * highest))
    axes.grid(axis="x", color=FAINT, linewidth=0.6)


def _num_items(evidence: Evidence) -> str:
    numbers = sorted({arm.score.n for arm in evidence.arms.values()})
    return f"{numbers[0]} items" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]} items"
