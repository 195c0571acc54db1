"""The figures of a report. matplotlib is loaded when a figure is drawn, not before."""

from __future__ import annotations

from cotdistill.config import Part
from cotdistill.errors import ConfigError
from cotdistill.reports.evidence import Evidence
from cotdistill.reports.figures.arms import draw_accuracy, draw_gain, draw_strength
from cotdistill.reports.figures.canvas import Drawing, write_figure
from cotdistill.reports.figures.cost import draw_cost, draw_tokens
from cotdistill.reports.figures.curves import draw_checks, draw_curves
from cotdistill.reports.figures.flips import draw_compared_flips
from cotdistill.reports.figures.granularity import draw_granularity, draw_length
from cotdistill.reports.figures.lengths import draw_example_lengths
from cotdistill.reports.figures.seeds import draw_power
from cotdistill.reports.figures.tasks import draw_tasks

__all__ = ["Drawing", "draw_all", "write_figure"]


def draw_all(evidence: Evidence) -> list[Drawing]:
    """Every figure that the evidence fills, in the order of the page; none if no arm has a score."""
    if not evidence.arms:
        return []
    draw = (
        draw_accuracy,
        draw_granularity,
        draw_tasks,
        draw_gain,
        draw_compared_flips,
        draw_power,
        draw_strength,
        draw_cost,
        draw_tokens,
        draw_length,
        draw_example_lengths,
        draw_curves,
        draw_checks,
    )
    drawn = [one(evidence) for one in draw] + [_own(figure, evidence) for figure in evidence.figures]
    return [drawing for drawing in drawn if drawing is not None]


def _own(figure: Part, evidence: Evidence) -> Drawing | None:
    """The user's own figure. Raises ConfigError if the function returns anything but a drawing."""
    drawing = figure.call(evidence)
    if drawing is not None and not isinstance(drawing, Drawing):
        raise ConfigError(
            f"{figure.name} returns {type(drawing).__name__}", where=figure, remedy="return a Drawing, or None"
        )
    return drawing
