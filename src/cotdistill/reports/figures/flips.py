"""Where one arm gains and loses against another: items that only one of them has right, by task and by what failed."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, get_args

from cotdistill.errors import DataError
from cotdistill.evaluation.diagnosis.flips import Failure, Flip, find_flips
from cotdistill.reports.evidence import Arm, Cell, Evidence
from cotdistill.reports.figures.canvas import (
    FAINT,
    INK,
    SERIES,
    Drawing,
    label,
    legend,
    names_down,
    new_figure,
    rows_height,
    without_shared_words,
)
from cotdistill.reports.texts import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLORS: dict[Failure, str] = dict(zip(get_args(Failure), (SERIES[4], SERIES[3], SERIES[1], SERIES[0]), strict=True))


def draw_compared_flips(evidence: Evidence) -> Drawing | None:
    """The flips of the first declared comparison, over all seeds; None if there are none, or no questions."""
    if not evidence.comparisons:
        return None
    first = evidence.comparisons[0]
    a, b = evidence.arms[first.a], evidence.arms[first.b]
    try:
        flips = [flip for one, other in _pairs(a, b) for flip in _flips(one, other)]
    except DataError:  # an old evaluation, which kept no questions
        return None
    return draw_flips(flips, first.a, first.b)


def draw_flips(flips: Sequence[Flip], a: str, b: str) -> Drawing | None:
    """Bars to the right for items that only arm ``a`` has right, to the left for those that only ``b`` has."""
    if not flips:
        return None
    net = Counter(dict.fromkeys(sorted({flip.task for flip in flips}), 0))
    for flip in flips:
        net[flip.task] += 1 if flip.gained else -1
    tasks = sorted(net, key=lambda task: -net[task])
    figure, (axes,) = new_figure(rows_height(len(tasks)) + 0.35)
    names_down(axes, [task.rsplit("/", 1)[-1] for task in tasks])
    failures: list[Failure] = [failure for failure in _COLORS if any(flip.failure == failure for flip in flips)]
    for gained in (True, False):
        counts = Counter((flip.task, flip.failure) for flip in flips if flip.gained == gained)
        _draw_side(axes, [[counts[task, failure] for task in tasks] for failure in failures], failures, gained)
    axes.axvline(0, color=INK, linewidth=1)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.xaxis.set_major_formatter(lambda value, _: f"{abs(value):,.0f}")
    axes.locator_params(axis="x", nbins=6, integer=True)
    axes.use_sticky_edges = False  # bars would hold the limits to their ends
    axes.margins(x=0.16)  # room for the counts beside the bars
    left, right = (short(name, 32) for name in without_shared_words([b, a]))
    label(axes, x=f"left: only {left} is right\nright: only {right} is right")
    legend(axes, "what failed")
    told = f"is always {failures[0]}" if len(failures) == 1 else "is shown by colour"
    caption = (
        f"Items that one arm gets right and the other wrong, by task, over all seeds. What failed in the wrong one "
        f"{told}: length (cut off), format (no answer read), arithmetic (a false equation), or else reasoning."
    )
    return Drawing("flips", "Where the first comparison gains and loses", caption, figure)


def _draw_side(axes: Axes, counts: Sequence[Sequence[int]], failures: Sequence[Failure], gained: bool) -> None:
    """Bars of ``counts[failure][task]``, piled outwards from the middle."""
    sign = 1 if gained else -1
    ends = [0] * len(counts[0])
    for failure, of_tasks in zip(failures, counts, strict=True):
        widths = [sign * count for count in of_tasks]
        style = {"color": _COLORS[failure], "label": failure if gained else "", "height": 0.62, "linewidth": 0}
        axes.barh(range(len(widths)), widths, left=ends, **style)
        ends = [end + width for end, width in zip(ends, widths, strict=True)]
    for row, end in enumerate(ends):
        axes.annotate(
            f"{abs(end)}",
            (end, row),
            xytext=(4 * sign, 0),
            textcoords="offset points",
            ha="left" if gained else "right",
            va="center_baseline",
            fontsize=10,
            color=INK,
        )


def _pairs(a: Arm, b: Arm) -> Iterable[tuple[Cell, Cell]]:
    """Cells of one seed; what is untrained is the same under every seed."""
    if _is_untrained(a) or _is_untrained(b):
        return itertools.product(a.cells, b.cells)
    by_seed = {cell.seed: cell for cell in b.cells}
    return [(cell, by_seed[cell.seed]) for cell in a.cells if cell.seed in by_seed]


def _is_untrained(arm: Arm) -> bool:
    return all(cell.curve is None for cell in arm.cells)


def _flips(a: Cell, b: Cell) -> list[Flip]:
    return find_flips(a.questions, a.predictions, b.predictions)
