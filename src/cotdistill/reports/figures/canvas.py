"""What all figures share: size, colours, axes, and how they are saved.

Figures are drawn on their own canvas and never through pyplot: no global state, no display, safe beside a user's plots.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cotdistill.reports.evidence import TEACHER, Evidence
from cotdistill.reports.names import labels
from cotdistill.reports.texts import short
from cotdistill.storage.atomic import write_bytes_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, QUIET, FAINT, PAPER = "#262626", "#595959", "#d9d9d9", "#ffffff"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#332288", "#882255")
"""Okabe and Ito's colours and two of Tol's, told apart with every kind of colour vision; markers say the same."""

MARKERS = "osD^vPX*"
WIDTH = 6.4  # inches
_TEXT = 11.0  # points
_DENSE_TEXT = 8.5
_ROW, _DENSE_ROW, _MANY, _FRAME = 0.42, 0.2, 24, 0.9  # inches; beyond so many rows they are denser


Section = Literal["findings", "setup", "training"]


@dataclass(frozen=True)
class Drawing:
    """A figure with its file name, its title, one sentence on how to read it, and the report's section for it.

    ``svg`` is the same for the same figure, with its words as text rather than outlines.
    """

    name: str
    title: str
    caption: str
    figure: Figure
    section: Section = "findings"

    @cached_property
    def svg(self) -> str:
        from matplotlib import rc_context

        file = io.StringIO()
        with rc_context({"svg.fonttype": "none", "svg.hashsalt": "cotdistill"}):
            self.figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
        self.figure.set_layout_engine("none")  # it is laid out: another format need not do so again
        return file.getvalue()


def arm_style(name: str, evidence: Evidence) -> dict[str, Any]:
    """Points of reference are set apart from the arms that are compared."""
    if name in evidence.bases:
        return {"color": QUIET, "marker": "o", "markerfacecolor": PAPER}
    if name == TEACHER:
        return {"color": SERIES[1], "marker": "D", "markerfacecolor": PAPER}
    return {"color": SERIES[0], "marker": "o"}


def series_style(index: int) -> dict[str, Any]:
    return {"color": SERIES[index % len(SERIES)], "marker": MARKERS[index % len(MARKERS)]}


def new_figure(height: float, *, rows: int = 1, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure of our width and ``height`` inches; axes side by side share their vertical scale."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained", facecolor=PAPER)
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, sharey="row", squeeze=False)
    return figure, [_plain(axes) for axes in grid.flat]


def _plain(axes: Axes) -> Axes:
    """Axes with no more ink than the values need."""
    axes.tick_params(labelsize=_TEXT, colors=INK, length=0, pad=6)
    axes.spines[["top", "right"]].set_visible(False)
    for spine in axes.spines.values():
        spine.set_color(FAINT)
    axes.set_facecolor(PAPER)
    axes.set_axisbelow(True)
    return axes


def label(axes: Axes, *, x: str = "", y: str = "", title: str = "") -> None:
    """Labels in plain text: a dollar sign in a name is no formula."""
    for text, put in ((x, axes.set_xlabel), (y, axes.set_ylabel)):
        if text:
            put(text, fontsize=_TEXT, color=INK, parse_math=False)
    if title:
        axes.set_title(short(title, 48), loc="left", fontsize=_TEXT, color=INK, parse_math=False)


def rows_height(num_rows: int) -> float:
    """Inches of a figure whose axes hold rows from top to bottom."""
    return _FRAME + (_ROW if num_rows <= _MANY else _DENSE_ROW) * num_rows


def names_down(axes: Axes, names: list[str]) -> None:
    """One row a name, from top to bottom."""
    axes.set_ylim(len(names) - 0.4, -0.6)
    size = _TEXT if len(names) <= _MANY else _DENSE_TEXT
    axes.set_yticks(range(len(names)), _shortened(names, 40), fontsize=size)
    axes.spines["left"].set_visible(False)
    for text in axes.get_yticklabels():
        text.set_parse_math(False)


def name_points(axes: Axes, names: Sequence[str], points: Sequence[tuple[float, float]]) -> None:
    """Names in a column right of the axes, in the order of their points' heights, each with a line to its point.

    Beside the points they would cover each other wherever two arms are close. Call it when the axes have their limits.
    """
    low, high = axes.get_ylim()
    order = sorted(range(len(points)), key=lambda place: points[place][1])
    shown = _shortened(names, 28)
    heights = _apart([(points[place][1] - low) / (high - low) for place in order])
    for place, height in zip(order, heights, strict=True):
        axes.annotate(
            shown[place],
            points[place],
            xytext=(1.03, height),
            textcoords="axes fraction",
            va="center",
            fontsize=_TEXT - 1,
            color=INK,
            parse_math=False,
            zorder=1,  # lines go behind the points
            arrowprops={"arrowstyle": "-", "color": FAINT, "linewidth": 1.0, "shrinkA": 2, "shrinkB": 5},
        )


def _apart(heights: Sequence[float]) -> list[float]:
    """Ascending ``heights`` between 0 and 1, moved as little as needed to be a line of text apart."""
    gap = min(0.075, 1 / max(1, len(heights) - 1))
    found: list[float] = []
    for height in heights:
        found.append(max(height, found[-1] + gap if found else 0.0))
    limit = 1.0
    for place in reversed(range(len(found))):
        found[place] = min(found[place], limit)
        limit = found[place] - gap
    return found


def without_shared_words(names: Sequence[str]) -> list[str]:
    """The names without the words that all of them begin with."""
    words = [name.split() for name in names]
    num_shared = sum(1 for _ in itertools.takewhile(lambda column: len(set(column)) == 1, zip(*words, strict=False)))
    return [" ".join(one[min(num_shared, len(one) - 1) :]) for one in words]


def _shortened(names: Sequence[str], width: int) -> list[str]:
    found = labels(names, width)
    return [found[name] for name in names]


def legend(axes: Axes, title: str = "") -> None:
    """Beside the axes, so that it hides no point; nothing for fewer than two entries."""
    handles, names = axes.get_legend_handles_labels()
    if len(names) < 2:
        return
    drawn = axes.legend(
        handles,
        _shortened(names, 28),
        title=title or None,
        loc="upper left",
        bbox_to_anchor=(1.02, 1.0),
        borderaxespad=0.0,
        frameon=False,
        fontsize=_TEXT - 1,
        title_fontsize=_TEXT - 1,
        labelcolor=INK,
    )
    drawn.get_title().set_color(INK)
    for text in (*drawn.get_texts(), drawn.get_title()):
        text.set_parse_math(False)


def write_figure(figure: Figure, path: Path) -> None:
    """Save in the format that the suffix of ``path`` names (pdf, png), all of it or nothing."""
    drawn = io.BytesIO()  # matplotlib's PDF writer fails in another way, too, where the disk is full
    metadata = {"CreationDate": None} if path.suffix == ".pdf" else None
    figure.savefig(drawn, format=path.suffix.removeprefix("."), dpi=200, metadata=metadata)
    write_bytes_atomically(path, drawn.getvalue())
