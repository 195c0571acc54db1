"""Tables on a terminal: plain text, as wide as it takes, and no markup from anybody's names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from cotdistill.reports.evidence import Evidence
from cotdistill.reports.tables import Table, comparison_table, missing_table, one_line, score_table

if TYPE_CHECKING:
    from rich.console import Console


def print_table(evidence: Evidence, console: Console | None = None) -> None:
    """Print scores, comparisons and missing cells; to standard output unless ``console`` is given."""
    found = (_narrow(score_table(evidence)), comparison_table(evidence.comparisons), missing_table(evidence))
    print_tables([table for table in found if table is not None], console)


def print_tables(found: Sequence[Table], console: Console | None = None) -> None:
    from rich.console import Console

    console = console or Console()
    for number, table in enumerate(found):
        if number:
            console.print()
        _print(table, console)


def _narrow(table: Table | None) -> Table | None:
    """Scores over several seeds without the columns that would leave a terminal no room for names."""
    if table is None or "seeds" not in table.headings:
        return table
    kept = [place for place, name in enumerate(table.headings) if name not in ("seeds' range", "correct", "wrong")]
    rows = tuple(tuple(row[place] for place in kept) for row in table.values)
    return replace(table, columns=tuple(table.columns[place] for place in kept), values=rows)


def _print(table: Table, console: Console) -> None:
    from rich import box
    from rich.table import Table as TerminalTable
    from rich.text import Text

    drawn = TerminalTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in table.columns:
        if column.kind == "label":
            drawn.add_column(column.heading, overflow="fold")
        else:  # where space is short, names give way to numbers
            drawn.add_column(column.heading, justify="right", no_wrap=True)
    for row in table.rows:
        drawn.add_row(*(Text(one_line(cell)) for cell in row))  # Text: square brackets are no markup
    unbounded = console.options.update(max_width=1000)
    if console.measure(drawn, options=unbounded).maximum > console.width:
        drawn.padding = (0, 0, 0, 0)  # one space between columns
    console.print(drawn)
