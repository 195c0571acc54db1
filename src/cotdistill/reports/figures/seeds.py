"""How likely a difference is found with more seeds."""

from __future__ import annotations

from cotdistill.evaluation.statistics.comparisons import POINTS
from cotdistill.evaluation.statistics.seeds import WANTED
from cotdistill.reports.evidence import Evidence
from cotdistill.reports.figures.canvas import FAINT, QUIET, Drawing, label, legend, new_figure, series_style

_SEEDS = range(2, 21)


def draw_power(evidence: Evidence) -> Drawing | None:
    """Power over seeds for the first comparison over several, a line for each difference; None if there is none."""
    found = next(((each, each.variance) for each in evidence.comparisons if each.variance is not None), None)
    if found is None:
        return None
    comparison, variance = found
    figure, (axes,) = new_figure(3.4)
    axes.axhline(100 * WANTED, color=QUIET, linewidth=1, linestyle=":")
    axes.axvline(comparison.num_seeds, color=FAINT, linewidth=6)
    for index, points in enumerate(POINTS):
        powers = [100 * variance.power(points / 100, seeds) for seeds in _SEEDS]
        axes.plot(_SEEDS, powers, linewidth=1.8, markersize=5, label=f"{points} points", **series_style(index))
    axes.set_ylim(0, 102)
    axes.locator_params(axis="x", integer=True)
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    label(axes, x=f"seeds per arm ({comparison.n:,} items)", y="power in %")
    legend(axes, "difference")
    caption = (
        f"How often a difference between {comparison.a} and {comparison.b} would be found at p = 0.05, by the spread "
        f"of their {comparison.num_seeds} seeds (grey line); the dotted line is 80 %."
    )
    return Drawing("power", "Power over seeds", caption, figure)
