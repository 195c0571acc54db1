"""JSON Lines: rows that are read one by one, written together, or appended so that they survive a kill."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

from cotdistill.errors import DataError
from cotdistill.storage.atomic import write_parts_atomically
from cotdistill.storage.texts import parse_json, read_lines


def dump_row(row: dict[str, Any]) -> str:
    """One JSON line without its line break. Lone surrogates and control characters survive, escaped."""
    return json.dumps(row, ensure_ascii=False, separators=(", ", ": ")).encode("utf-8", "backslashreplace").decode()


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a JSON Lines file (gzipped where the name ends in ``.gz``).

    Raises DataError naming file and line for a line that is not a JSON object, and for a file that is missing or is not
    UTF-8 text.
    """
    for _, row in read_numbered_rows(path):
        yield row


def read_numbered_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Like :func:`read_rows`, each row with its line number (from 1), for the caller's error messages."""
    for number, line in read_lines(path):
        if line.strip():
            where = f"{path}, line {number}"
            row = parse_json(line, where)
            if not isinstance(row, dict):
                problem, remedy = (
                    f"expected a JSON object, found {type(row).__name__}",
                    "an array of them is a .json file",
                )
                raise DataError(problem, where=where, remedy=remedy)
            yield number, row


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write a JSON Lines file whole or not at all, row by row."""
    write_parts_atomically(path, map(_line, rows))


class RowAppender:
    """Appends rows to a JSON Lines file. Once :meth:`append` returns, its rows survive a kill of the process.

    Opening the file drops an incomplete last line that a kill left.
    """

    def __init__(self, path: Path):
        self.path = path
        _drop_torn_line(path)
        self._file = path.open("ab")

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows that are in the file now, read one by one."""
        return read_rows(self.path)

    def append(self, row: dict[str, Any]) -> None:
        self.append_all([row])

    def append_all(self, rows: Iterable[dict[str, Any]]) -> list[int]:
        """Append rows together: a kill leaves all of them or, except in the shortest of moments, none.

        Returns the byte of the file at which each begins.
        """
        lines = list(map(_line, rows))
        ends = list(accumulate(map(len, lines), initial=self._file.tell()))
        self._file.write(b"".join(lines))
        self._file.flush()
        return ends[:-1]

    def close(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def __enter__(self) -> RowAppender:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _line(row: dict[str, Any]) -> bytes:
    return f"{dump_row(row)}\n".encode()


_BLOCK = 1 << 16


def _drop_torn_line(path: Path) -> None:
    """Cut the file behind its last line break, which is looked for from the end, block by block."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        end = size = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - _BLOCK)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            end = start + found + 1 if found >= 0 else start
            if found >= 0:
                break
        if end < size:
            file.truncate(end)
