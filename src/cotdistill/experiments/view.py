"""What an experiment shows while it runs: a live view on a terminal, one line per cell elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cotdistill.errors import printable
from cotdistill.experiments.plan import Cell
from cotdistill.progress import duration

if TYPE_CHECKING:
    from rich.console import RenderableType

_FAILURES_SHOWN = 5


class View:
    """Counts of cells, and the time left, judged by cells so far. Without a terminal, ``say`` is called."""

    def __init__(self, total: int, done: int, say: Callable[[str], None], after: Callable[[Cell], None]):
        self.total, self.done, self.say, self.after = total, done, say, after
        self.failures: list[tuple[Cell, str]] = []
        self.running: dict[str, tuple[Cell, float]] = {}
        self.started_at, self.ended_here = time.monotonic(), 0

    def started(self, cell: Cell) -> None:
        self.running[cell.id] = (cell, time.monotonic())

    def ended(self, cell: Cell, state: dict[str, Any]) -> None:
        _, since = self.running.pop(cell.id, (cell, time.monotonic()))
        self.ended_here += 1
        failed = state["status"] == "failed"
        if failed:
            self.failures.append((cell, state["error"]))
        else:
            self.done += 1
        outcome = f"FAILED: {state['error']}" if failed else "done"
        self.say(f"{self.counts()}: {cell.title} {outcome} ({duration(time.monotonic() - since)}){self.time_left()}")
        self.after(cell)

    def counts(self) -> str:
        failed = f", {len(self.failures)} failed" if self.failures else ""
        return f"{self.done}/{self.total} done{failed}"

    def time_left(self) -> str:
        left = self.total - self.done - len(self.failures)
        if not left or not self.ended_here:
            return ""
        return f"; about {duration((time.monotonic() - self.started_at) / self.ended_here * left)} left"

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        finished = self.done + len(self.failures)
        lines: list[RenderableType] = [
            Text(f"{self.counts()}, {len(self.running)} running{self.time_left()}"),
            ProgressBar(total=max(1, self.total), completed=finished, width=60),
        ]
        for cell, since in self.running.values():
            lines.append(Text(f"  {printable(cell.title)}  {duration(time.monotonic() - since)}"))
        for cell, error in self.failures[-_FAILURES_SHOWN:]:
            line = printable(f"  failed: {cell.title}: {error}")
            lines.append(Text(line, style="red", no_wrap=True, overflow="ellipsis"))
        return Group(*lines)


@contextmanager
def watch(
    total: int, done: int, say: Callable[[str], None], after: Callable[[Cell], None], *, alone: bool
) -> Iterator[View]:
    """A view of ``total`` cells, of which ``done`` were made before; ``after`` is called when a cell has ended.

    Where this process makes them ``alone``, the terminal is left to the progress of their stages.
    """
    if alone or not sys.stderr.isatty():
        yield View(total, done, say, after)
        return
    from rich.console import Console
    from rich.live import Live

    view = View(total, done, lambda line: None, after)
    with Live(view, console=Console(stderr=True), refresh_per_second=2):
        yield view
