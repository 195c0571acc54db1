"""The tables of a report, as text that is the same in the terminal and on the page.

Names and questions come from files of the user, so they are made harmless where they are shown: no control characters
in the terminal, no markup on the page.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cotdistill.evaluation.statistics import ComparisonResult
from cotdistill.reports.run_report import RunReport

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, slots=True)
class Table:
    """Headings and rows of plain text; the first ``num_labels`` columns are words, the others numbers."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    num_labels: int = 1


def score_table(report: RunReport) -> Table:
    """One row an arm: accuracy and interval in percent, and the counts of the four verdicts."""
    headings = ("arm", "accuracy", "95 % interval", "n", "correct", "wrong", "unreadable", "truncated")
    scores = {name: arm.score for name, arm in report.arms.items()}
    rows = [
        (
            name,
            f"{100 * score.accuracy:.1f} %",
            interval(score.interval),
            *map(str, (score.n, score.correct, score.wrong, score.unreadable, score.truncated)),
        )
        for name, score in scores.items()
    ]
    return Table(headings, tuple(rows))


def extras_table(report: RunReport) -> Table | None:
    """One row an arm, one column for every extra that some arm has; None where no arm has any."""
    keys = list(dict.fromkeys(key for arm in report.arms.values() for key in arm.extras))
    if not keys:
        return None
    headings = ("arm", *(key.removeprefix("num_").replace("_", " ") for key in keys))
    rows = [(name, *(quantity(arm.extras.get(key)) for key in keys)) for name, arm in report.arms.items()]
    return Table(headings, tuple(rows))


def comparison_table(comparisons: Sequence[ComparisonResult]) -> Table | None:
    """One row a comparison, differences in percentage points; None where nothing was compared."""
    if not comparisons:
        return None
    headings = ("a", "b", "a - b (points)", "95 % interval", "p", "p (Holm)")
    rows = [
        (
            c.a,
            c.b,
            f"{100 * c.difference:+.1f}",
            interval(c.interval),
            p_value(c.p_value),
            "" if c.adjusted_p_value is None else p_value(c.adjusted_p_value),
        )
        for c in comparisons
    ]
    return Table(headings, tuple(rows), num_labels=2)


def interval(bounds: tuple[float, float]) -> str:
    """Two fractions as percent or percentage points: ``12.3 to 45.6``."""
    return f"{100 * bounds[0]:.1f} to {100 * bounds[1]:.1f}"


def p_value(p: float) -> str:
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"


def quantity(value: int | float | str | None) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else value


def one_line(text: str) -> str:
    """``text`` without line breaks, control characters and characters that reorder others."""
    hidden = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return " ".join("".join(" " if unicodedata.category(c) in hidden else c for c in text).split())


def markdown_text(text: str) -> str:
    """``text`` on one line, escaped: Markdown shows it as it is, in a table cell too, and no HTML comes through."""
    line = one_line(text).replace("&", "&amp;").replace(">", "&gt;")
    line = re.sub(r"<(?! )", "&lt;", line)  # before a space it opens no tag, as in "p < 0.05"
    line = re.sub(r"([\\`*\[\]|~#])", r"\\\1", line)
    return re.sub(r"(?<![a-zA-Z0-9])_|_(?![a-zA-Z0-9])", r"\\_", line)  # within a word it is no markup


def to_markdown(table: Table) -> str:
    rules = (":--" if column < table.num_labels else "--:" for column in range(len(table.headings)))
    lines = [table.headings, *table.rows]
    cells = ["| " + " | ".join(map(markdown_text, line)) + " |" for line in lines]
    return "\n".join([cells[0], "| " + " | ".join(rules) + " |", *cells[1:]]) + "\n"


def print_table(report: RunReport, console: Console | None = None) -> None:
    """Print the scores and, where there are any, the comparisons; to standard output unless ``console`` is given."""
    from rich.console import Console

    console = console or Console()
    _print(score_table(report), console)
    if (comparisons := comparison_table(report.comparisons)) is not None:
        console.print()
        _print(comparisons, console)


def _print(table: Table, console: Console) -> None:
    from rich import box
    from rich.table import Table as TerminalTable
    from rich.text import Text

    drawn = TerminalTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column, heading in enumerate(table.headings):
        if column < table.num_labels:
            drawn.add_column(heading, overflow="fold")
        else:
            drawn.add_column(heading, justify="right", no_wrap=True)  # where space is short, names give way to numbers
    for row in table.rows:
        drawn.add_row(*(Text(one_line(cell)) for cell in row))  # Text: square brackets are no markup
    console.print(drawn)
