"""What finer rationales bring and cost: accuracy by granularity with bands, and length against level."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cotdistill.reports.evidence import Arm, Evidence, varying_factors
from cotdistill.reports.figures.canvas import (
    FAINT,
    QUIET,
    SERIES,
    Drawing,
    label,
    legend,
    new_figure,
    series_style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_PANELS = 4
Points = dict[str, dict[int, Arm]]
"""Arms by series and level."""


def draw_granularity(evidence: Evidence) -> Drawing | None:
    """Accuracy over levels, a panel for each student; None if no series has two levels."""
    panels = _panels(evidence)
    if not panels:
        return None
    figure, grid = new_figure(3.6, columns=len(panels))
    for axes, (student, series) in zip(grid, panels.items(), strict=True):
        for index, (name, arms) in enumerate(series.items()):
            _draw_series(axes, name, arms, index)
        _draw_references(axes, evidence, student)
        _level_axis(axes, series)
        label(axes, x="granularity, coarse to fine", title=student if len(panels) > 1 else "")
    label(grid[0], y="accuracy in %")
    grid[0].set_ylim(bottom=0)
    legend(grid[-1])
    caption = (
        "Lines are accuracies by granularity of the rationales, bands their 95 % intervals; dotted lines are arms "
        "without a granularity."
    )
    return Drawing("granularity", "Accuracy by granularity", caption, figure)


def draw_length(evidence: Evidence) -> Drawing | None:
    """Mean words of the rationales over levels; None if no teacher has two levels."""
    series: dict[str, dict[int, float]] = {}
    for arm in evidence.arms.values():
        level, words = arm.factors.get("granularity"), arm.extras.get("rationale_words")
        if isinstance(level, int) and isinstance(words, int | float):
            key = ", ".join(str(arm.factors[name]) for name in ("teacher", "format") if arm.factors.get(name))
            series.setdefault(key, {})[level] = float(words)
    series = {name: lengths for name, lengths in series.items() if len(lengths) > 1}
    if not series:
        return None
    figure, (axes,) = new_figure(3.2)
    for index, (name, lengths) in enumerate(series.items()):
        levels = sorted(lengths)
        values = [lengths[level] for level in levels]
        axes.plot(levels, values, linewidth=1.8, markersize=6, label=name, **series_style(index))
    axes.set_xticks(sorted({level for lengths in series.values() for level in lengths}))
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    label(axes, x="granularity, coarse to fine", y="words in a rationale, mean")
    legend(axes, "teacher, format")
    caption = "How long the rationales actually are at each level that was asked for."
    return Drawing("length", "Length by level", caption, figure)


def _panels(evidence: Evidence) -> dict[str, Points]:
    """Series with at least two levels, by student; a series is told apart by all else that varies."""
    levelled = [arm for arm in evidence.arms.values() if isinstance(arm.factors.get("granularity"), int)]
    others = [key for key in varying_factors(levelled) if key not in ("granularity", "student", "seed")]
    panels: dict[str, Points] = {}
    for arm in levelled:
        level = arm.factors["granularity"]
        if isinstance(level, int):
            name = ", ".join(str(arm.factors[key]) for key in others if arm.factors.get(key) is not None)
            panels.setdefault(str(arm.factors.get("student", "")), {}).setdefault(name, {})[level] = arm
    kept = {
        student: {name: arms for name, arms in series.items() if len(arms) > 1} for student, series in panels.items()
    }
    return dict([(student, series) for student, series in kept.items() if series][:_MAX_PANELS])


def _draw_series(axes: Axes, name: str, arms: dict[int, Arm], index: int) -> None:
    levels = sorted(arms)
    scores = [arms[level].score for level in levels]
    style = series_style(index)
    low, high = ([100 * score.interval[side] for score in scores] for side in (0, 1))
    axes.fill_between(levels, low, high, color=style["color"], alpha=0.16, linewidth=0)
    values = [100 * score.accuracy for score in scores]
    axes.plot(levels, values, linewidth=1.8, markersize=6, label=name or "rationales", **style)


def _draw_references(axes: Axes, evidence: Evidence, student: str) -> None:
    """Answers alone, human rationales and the untrained student, which have no level."""
    lines = 0
    for name, arm in evidence.arms.items():
        if arm.factors.get("granularity") is None and str(arm.factors.get("student", "")) == student and lines < 4:
            ink = QUIET if name in evidence.bases else SERIES[-1 - lines % 2]
            known = "untrained" if name in evidence.bases else str(arm.factors.get("teacher") or name)
            axes.axhline(100 * arm.score.accuracy, color=ink, linewidth=1.2, linestyle=(0, (1, 1 + lines)), label=known)
            lines += 1


def _level_axis(axes: Axes, series: Points) -> None:
    axes.set_xticks(sorted({level for arms in series.values() for level in arms}))
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
