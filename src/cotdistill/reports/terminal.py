"""Tables in plain text: fitted to a terminal's width, elsewhere as wide as they are; no markup from anybody's names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cotdistill.reports.caveats import caveats
from cotdistill.reports.details import missing_table, setup_table, untested_table
from cotdistill.reports.evidence import Evidence
from cotdistill.reports.names import labelled
from cotdistill.reports.tables import Table, comparison_table, score_table
from cotdistill.reports.texts import one_line
from cotdistill.reports.watched import watched_table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as TerminalTable

_GIVE_WAY = ("seeds' range", "correct", "wrong", "p", "seeds", "n")
"""Headings of the columns that a narrow terminal does without, the first that goes first."""
_NAME, _UNBOUNDED = 20, 100_000
"""Characters: names are wrapped down to so many; as wide as anything is."""


def print_table(evidence: Evidence, console: Console | None = None) -> None:
    """Print the setup, scores, comparisons, which steps were kept, what was not tested or is missing, and what to know
    before believing it.

    To standard output unless ``console`` is given.
    """
    from rich.text import Text

    console = _console(console)
    evidence = labelled(evidence) if console.is_terminal else evidence
    found = (
        setup_table(evidence),
        score_table(evidence),
        comparison_table(evidence.comparisons),
        watched_table(evidence),
        untested_table(evidence),
        missing_table(evidence),
    )
    print_tables([table for table in found if table is not None], console)
    for number, sentence in enumerate(caveats(evidence)):
        if not number:
            console.print()
        console.print(Text("- " + one_line("".join(sentence))))


def print_tables(found: Sequence[Table], console: Console | None = None) -> None:
    console = _console(console)
    for number, table in enumerate(found):
        if number:
            console.print()
        _print(table, console)


def _console(console: Console | None) -> Console:
    """Standard output; a file or another program gets lines as long as they are."""
    from rich.console import Console

    console = console or Console()
    if not console.is_terminal:
        console = Console(file=console.file, width=_UNBOUNDED)
    return console


def _print(table: Table, console: Console) -> None:
    """Where width is short, names are wrapped, then columns left out."""
    unbounded = console.options.update(max_width=_UNBOUNDED)
    for heading in _GIVE_WAY:
        clipped = replace(table, values=tuple(tuple(map(_clipped, row)) for row in table.values))
        if console.measure(_drawn(clipped), options=unbounded).maximum <= console.width:
            break
        table = _without(table, heading)
    if console.is_terminal:
        console.print(_drawn(table))
        return
    with console.capture() as captured:
        console.print(_drawn(table))
    print("\n".join(line.rstrip() for line in captured.get().splitlines()), file=console.file)


def _clipped(value: Any) -> Any:
    return value[:_NAME] if isinstance(value, str) else value


def _without(table: Table, heading: str) -> Table:
    kept = [place for place, name in enumerate(table.headings) if name != heading]
    rows = tuple(tuple(row[place] for place in kept) for row in table.values)
    return replace(table, columns=tuple(table.columns[place] for place in kept), values=rows)


def _drawn(table: Table) -> TerminalTable:
    from rich import box
    from rich.table import Table as TerminalTable
    from rich.text import Text

    headed = table.name != "setup"
    look = box.SIMPLE_HEAD if headed else None
    drawn = TerminalTable(box=look, show_header=headed, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for number, column in enumerate(table.columns):
        if column.is_words and (number or len(table.columns) > 2):
            drawn.add_column(column.heading, overflow="fold")
        else:  # where space is short, names give way to numbers
            drawn.add_column(column.heading, justify="left" if column.is_words else "right", no_wrap=True)
    for row in table.rows:
        drawn.add_row(*(Text(one_line(cell)) for cell in row))  # Text: square brackets are no markup
    return drawn
