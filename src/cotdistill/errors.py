"""Errors a user can act on: each names the problem, the place and the remedy.

Everything raised on purpose derives from :class:`CotDistillError`; the command line prints its one line and exits
with status 2. Anything else that escapes is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["CotDistillError"]


class CotDistillError(Exception):
    """A failure the user can act on.

    ``problem`` says what is wrong, with the offending value; ``where`` is the file, key or record; ``remedy`` is what
    to do about it. ``str(error)`` is one line: ``where: problem; remedy``.
    """

    def __init__(self, problem: str, *, where: object = None, remedy: str | None = None):
        self.problem, self.where, self.remedy = problem, where, remedy
        line = problem if where is None else f"{where}: {problem}"
        super().__init__(line if remedy is None else f"{line}; {remedy}")


class ConfigError(CotDistillError):
    """A setting is unknown, has the wrong type, or contradicts another one."""


class DataError(CotDistillError):
    """A data file or record is missing, malformed or empty."""


class ModelError(CotDistillError):
    """A model or tokenizer cannot be found, read or combined with another one."""


class ArtifactError(CotDistillError):
    """A folder of results is corrupted, locked by another process, or cannot be written."""


class TrainingError(CotDistillError):
    """Training cannot go on: for example a non-finite loss."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The remedy for a misspelt ``name``: the nearest right one if there is one, else the list of all."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(one if one.isprintable() else repr(one) for one in names)}"
