"""Progress of long work on standard error: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

PLAIN_SECONDS = 20.0
"""Seconds between lines where standard error is not a terminal."""


class Progress(Protocol):
    """What long work reports to: ``advance`` by ``count`` units, with a note on how it goes."""

    def advance(self, count: int = 1, note: str = "") -> None: ...


class _Unseen:
    def advance(self, count: int = 1, note: str = "") -> None:
        pass


UNSEEN: Progress = _Unseen()
"""Shows nothing: for work that is part of what is shown already."""


class _Plain:
    """A line at most every PLAIN_SECONDS, and none for work that is over before the first is due."""

    def __init__(self, description: str, total: int, done: int):
        self.description, self.total, self.done = description, total, done
        self.first = done
        self.started = self.printed = time.monotonic()

    def advance(self, count: int = 1, note: str = "") -> None:
        self.done += count
        now = time.monotonic()
        if now - self.printed < PLAIN_SECONDS:
            return
        self.printed = now
        left = (now - self.started) / max(1, self.done - self.first) * (self.total - self.done)
        print(
            f"{self.description}: {self.done}/{self.total}, {left:.0f} s left{note and ', ' + note}",
            file=sys.stderr,
        )


@contextmanager
def track(description: str, total: int, *, done: int = 0) -> Iterator[Progress]:
    """Report progress on ``total`` units of work, of which an earlier run finished ``done``."""
    if not sys.stderr.isatty():
        yield _Plain(description, total, done)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with RichProgress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=total, completed=done, note="")

        class Bar:
            def advance(self, count: int = 1, note: str = "") -> None:
                bar.update(task, advance=count, note=note)

        yield Bar()


def peak_memory() -> str:
    """The most memory that this process has had: of the GPU, if it uses one."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return f"{torch.cuda.max_memory_allocated() / 1e9:.1f} GB of the GPU"
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return f"{kilobytes / 1e6:.1f} GB"


def duration(seconds: float) -> str:
    """For example ``1 h 5 min``, ``12 min 3 s``, ``40 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
