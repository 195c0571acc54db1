"""How long several processes worked on something, one after the other, including killed ones."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

TICK = 10.0
"""Seconds between two writes to disk: the most that a kill can cost."""


_CENTURY = 3e9
"""Seconds: what is noted beyond, or below nothing, is damaged."""


class Clock:
    """Counts on from what earlier processes wrote to the file ``path``; a clock that is set back takes nothing away."""

    def __init__(self, path: Path):
        self.path, self._started, self._before = path, time.monotonic(), 0.0
        with contextlib.suppress(OSError, ValueError):
            noted = float(path.read_text(encoding="utf-8"))
            self._before = noted if 0 <= noted < _CENTURY else 0.0

    @property
    def seconds(self) -> float:
        """Of all processes, until now."""
        return self._before + time.monotonic() - self._started

    @contextlib.contextmanager
    def running(self, is_done: Callable[[], bool]) -> Iterator[None]:
        """Write down the seconds now and then and at the end; the file is deleted once all is done."""
        ended = threading.Event()

        def note_now_and_then() -> None:
            while not ended.wait(TICK):
                self._note()

        thread = threading.Thread(target=note_now_and_then, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            if is_done():
                self.path.unlink(missing_ok=True)
            else:
                self._note()

    def _note(self) -> None:
        new = self.path.with_name(f".{self.path.name}.new.tmp")
        with contextlib.suppress(OSError):  # a clock must not fail what it times
            new.write_text(f"{self.seconds:.3f}\n", encoding="utf-8")
            new.replace(self.path)
