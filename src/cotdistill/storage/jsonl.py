"""JSON Lines: rows that are read one by one, written together, or appended so that they survive a kill."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cotdistill.errors import DataError
from cotdistill.storage.atomic import write_text_atomically
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
    write_text_atomically(path, "".join(dump_row(row) + "\n" for row in rows))


class RowAppender:
    """Appends rows to a JSON Lines file. Once :meth:`append` returns, its rows survive a kill of the process.

    Opening the file drops an incomplete last line that a kill left. ``rows`` are those already in it.
    """

    def __init__(self, path: Path):
        self.path = path
        _drop_torn_line(path)
        self.rows: list[dict[str, Any]] = list(read_rows(path)) if path.exists() else []
        self._file = path.open("a", encoding="utf-8")

    def append(self, row: dict[str, Any]) -> None:
        self.append_all([row])

    def append_all(self, rows: Iterable[dict[str, Any]]) -> None:
        """Append rows together: a kill leaves all of them or, except in the shortest of moments, none."""
        self._file.write("".join(dump_row(row) + "\n" for row in rows))
        self._file.flush()

    def close(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def __enter__(self) -> RowAppender:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _drop_torn_line(path: Path) -> None:
    if not path.exists():
        return
    data = path.read_bytes()
    if data and not data.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(data.rfind(b"\n") + 1)
