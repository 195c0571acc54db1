"""What accuracy costs."""

from __future__ import annotations

from cotdistill.reports.evidence import TEACHER, Evidence
from cotdistill.reports.figures.canvas import FAINT, INK, QUIET, Drawing, arm_style, label, new_figure, short

_COSTS = {
    "cost": "money for rationales",
    "training_tokens": "training tokens",
    "output_tokens": "tokens of an answer, mean",
}
"""The extras that can be a cost, the most telling first, each with its label."""

_MAX_NAMES = 14


def draw_cost(evidence: Evidence) -> Drawing | None:
    """Accuracy over the first cost that differs between at least two trained arms; None where there is none."""
    for key, words in _COSTS.items():
        points = {
            name: (float(cost), arm.score)
            for name, arm in evidence.arms.items()
            if isinstance(cost := arm.extras.get(key), int | float)
            and cost > 0
            and name not in evidence.bases
            and name != TEACHER
        }
        if len({cost for cost, _ in points.values()}) < 2:
            continue
        figure, (axes,) = new_figure(3.6)
        costs = sorted({cost for cost, _ in points.values()})
        if max(costs) > 20 * min(costs):
            axes.set_xscale("log")
            axes.minorticks_off()
        else:
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            axes.locator_params(axis="x", nbins=6)
        axes.grid(color=FAINT, linewidth=0.6)
        for name, (cost, score) in points.items():
            low, high = score.interval
            error = [[100 * max(0.0, score.accuracy - low)], [100 * max(0.0, high - score.accuracy)]]
            axes.errorbar(
                cost,
                100 * score.accuracy,
                yerr=error,
                markersize=7,
                elinewidth=1.2,
                clip_on=False,
                **arm_style(name, evidence),
            )
            if len(points) <= _MAX_NAMES:
                left = costs.index(cost) % 2 == 0  # neighbours' names on either side, so that they do not meet
                axes.annotate(
                    short(name, 24),
                    (cost, 100 * score.accuracy),
                    xytext=(-7 if left else 7, 5),
                    ha="right" if left else "left",
                    textcoords="offset points",
                    fontsize=10,
                    color=INK,
                    parse_math=False,
                )
        if len(evidence.bases) == 1:
            axes.axhline(100 * evidence.arms[evidence.bases[0]].score.accuracy, color=QUIET, linewidth=1, linestyle=":")
        axes.set_ylim(bottom=0)
        axes.margins(x=0.25)
        label(axes, x=words, y="accuracy in %")
        caption = f"Accuracy with its 95 % interval against {words}; up and to the left is better."
        return Drawing("cost", f"Accuracy against {words}", caption, figure)
    return None
