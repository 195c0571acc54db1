"""Text files and JSON from anywhere: what cannot be read is refused, naming file and line."""

from __future__ import annotations

import contextlib
import gzip
import json
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cotdistill.errors import DataError

WRONG_SHAPE = (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError)
"""What reading JSON ends in that is none, or has another shape than ours."""


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 text with their numbers from 1, line ends as they are; a byte order mark is dropped.

    Raises DataError for a file that is missing, damaged or in another encoding.
    """
    if not path.is_file():
        raise DataError("no such file", where=path, remedy="check the path")
    number = 0
    try:
        with _open(path, "rt", encoding="utf-8-sig", newline="") as lines:
            for number, line in enumerate(lines, 1):
                yield number, line
    except UnicodeDecodeError as error:
        problem = f"not UTF-8 text (byte 0x{error.object[error.start]:02x})"
        remedy = 'save it as UTF-8 (in Excel: "CSV UTF-8"), or convert it: iconv -f cp1252 -t utf-8'
        raise DataError(problem, where=f"{path}, line {_first_other(path)}", remedy=remedy) from None
    except (OSError, EOFError, zlib.error) as error:
        problem = f"unreadable after line {number} ({error})"
        raise DataError(problem, where=path, remedy="write or download the file again") from None


def _open(path: Path, mode: str, **kwargs: Any) -> Any:
    return gzip.open(path, mode, **kwargs) if path.suffix.lower() == ".gz" else path.open(mode, **kwargs)


def _first_other(path: Path) -> int:
    """The number of the first line that is not UTF-8 text, or behind which a compressed file is damaged."""
    number = 0
    with contextlib.suppress(UnicodeDecodeError, OSError, EOFError, zlib.error), _open(path, "rb") as lines:
        for line in lines:
            number += 1
            line.decode()
    return max(1, number)


def parse_json(text: str, where: str) -> Any:
    """The value of a JSON text. Raises DataError for one that is malformed, names a key twice, is nested too deeply or
    holds a number of thousands of digits."""
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if error.lineno > 1 else ""
        problem = f"malformed JSON ({error.msg} at {line}column {error.colno})"
    except RecursionError:
        problem = "JSON is nested too deeply"
    except _RepeatedKey as error:
        problem = str(error)
    except ValueError:
        problem = f"a number has more than {sys.get_int_max_str_digits()} digits"
    raise DataError(problem, where=where, remedy="fix or delete that line")


class _RepeatedKey(ValueError):
    pass


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        raise _RepeatedKey(f"the key {next(name for name in names if names.count(name) > 1)!r} appears twice")
    return row


_DECODER = json.JSONDecoder(object_pairs_hook=_each_key_once)
