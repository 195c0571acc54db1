"""Errors a user can act on: each names the problem, the place and the remedy.

Everything raised on purpose derives from :class:`CotDistillError`; the command line prints its one line and exits
with status 2. Anything else that escapes is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

__all__ = ["CotDistillError"]

_ACTS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that a terminal acts on: controls, line breaks, and those that reorder others; and halves of one."""


class CotDistillError(Exception):
    """A failure the user can act on.

    ``problem`` says what is wrong, with the offending value; ``where`` is the file, key or record; ``remedy`` is what
    to do about it. ``str(error)`` is one line that any terminal can show: ``where: problem; remedy``.
    """

    def __init__(self, problem: str, *, where: object = None, remedy: str | None = None):
        self.problem, self.where, self.remedy = problem, where, remedy
        line = problem if where is None else f"{where}: {problem}"
        super().__init__(printable(line if remedy is None else f"{line}; {remedy}"))


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
    return f"known: {', '.join(names)}"


def printable(text: str) -> str:
    """``text`` on one line, with what a terminal would act on as escapes, which JSON reads back."""
    return _ACTS.sub(lambda found: "\\n" if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text)


def line_of(error: BaseException) -> str | None:
    """The line for an error that the user can act on: one raised on purpose, or one of files, network or memory.

    None for any other: a bug of ours, whose traceback is wanted.
    """
    if isinstance(error, CotDistillError):
        return str(error)
    reason = str(error).strip().partition("\n")[0]
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return printable(f"{place}{error.strerror or reason or type(error).__name__}")
    if isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__ or "not enough memory" in reason:
        return printable(f"out of memory{reason and f' ({reason})'}; use a smaller model or smaller batches")
    return None
