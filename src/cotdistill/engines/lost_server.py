"""When to stop asking a server: not at a lost request, which may pass, but where none reaches it any more."""

from __future__ import annotations

import threading

from cotdistill.errors import ModelError


class LostRequests:
    """Counts requests in a row that did not reach a server; threads may share it.

    ``most`` is their number from which the server is given up: as many at least as can be under way at once.
    """

    def __init__(self, most: int, where: str):
        self._most, self._where = most, where
        self._in_a_row = 0
        self._lock = threading.Lock()

    def reached(self) -> None:
        """A request got an answer, be it a refusal."""
        with self._lock:
            self._in_a_row = 0

    def lost(self) -> None:
        """A request did not. Raises ModelError where this was one too many."""
        with self._lock:
            self._in_a_row += 1
            given_up = self._in_a_row >= self._most
        if given_up:
            remedy = "see to the server, and run again: what was answered is kept"
            raise ModelError("the server cannot be reached", where=self._where, remedy=remedy)
