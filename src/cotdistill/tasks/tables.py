"""Rows of the user's own files (JSON, CSV, Parquet), each with the place that an error message can name."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import Any

from cotdistill.errors import DataError
from cotdistill.storage.jsonl import read_numbered_rows
from cotdistill.storage.texts import parse_json, read_lines

Row = dict[str, Any]

KINDS = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
_WORKBOOKS = (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods", ".numbers")
_MAX_CELL = 2**31 - 1
"""Characters of a cell: the largest limit that every platform accepts; Python's default is 131,072."""


def read_table(path: Path) -> Iterator[tuple[str, Row]]:
    """``(place, row)`` for each row of ``path``, which may be gzipped (``.gz``) except for Parquet.

    Raises DataError for a file that is missing, malformed or of an unknown kind, and for a column or key named twice.
    """
    if path.is_dir():
        remedy = f"name one of the files in it{_named(path)}, or write {{hub: ./{path.name}}} for a saved data set"
        raise DataError("a folder, not a file", where=path, remedy=remedy)
    if not path.is_file():
        raise DataError("no such file", where=path, remedy=_nearest_table(path))
    kind = Path(path.name.lower().removesuffix(".gz")).suffix
    if kind in (".jsonl", ".ndjson"):
        return _line_rows(path)
    if kind == ".json":
        return _json_rows(path)
    if kind in (".csv", ".tsv"):
        return _csv_rows(path, "\t" if kind == ".tsv" else None)
    if kind == ".parquet":
        return _parquet_rows(path)
    if kind in _WORKBOOKS:
        raise DataError("a workbook, not a text table", where=path, remedy='save the sheet as "CSV UTF-8" (.csv)')
    raise DataError("unknown file type", where=path, remedy=f"use {', '.join(KINDS)}, optionally with .gz")


def _tables(folder: Path) -> list[str]:
    try:
        return sorted(file.name for file in folder.iterdir() if file.name.lower().endswith((*KINDS, ".gz")))
    except OSError:
        return []


def _named(folder: Path) -> str:
    """Some of a folder's tables in brackets."""
    names = _tables(folder)
    return f" ({', '.join(names[:3])}{', ...' if names[3:] else ''})" if names else ""


def _nearest_table(path: Path) -> str:
    """The remedy for a table that is not there: a file of nearly that name, whatever its ending."""
    names = {name.split(".")[0]: name for name in _tables(path.parent)}
    close = get_close_matches(path.name.split(".")[0], names, n=1)
    if close:
        return f"did you mean {names[close[0]]!r}?"
    return "check the path" if path.suffix else "check the path, or write {hub: NAME} for a data set of the hub"


def _line_rows(path: Path) -> Iterator[tuple[str, Row]]:
    return ((f"{path}, line {number}", row) for number, row in read_numbered_rows(path))


def _json_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """Rows of a JSON array, or of JSON Lines with another file ending."""
    first = next((line.lstrip() for _, line in read_lines(path) if line.strip()), "")
    if not first.startswith("["):
        yield from _line_rows(path)
        return
    for number, row in enumerate(parse_json("".join(line for _, line in read_lines(path)), str(path)), 1):
        if not isinstance(row, dict):
            raise DataError(f"expected a JSON object, found {json.dumps(row):.60}", where=f"{path}, row {number}")
        yield f"{path}, row {number}", row


def _csv_rows(path: Path, delimiter: str | None) -> Iterator[tuple[str, Row]]:
    """Rows of a table whose first line names the columns; an empty cell is None, and an empty row none."""
    lines = (line for _, line in read_lines(path))
    header = next(lines, "")
    csv.field_size_limit(_MAX_CELL)
    delimiter = delimiter or max(",;\t", key=lambda sign: len(next(csv.reader([header], delimiter=sign), ())))
    reader = csv.reader(chain([header], lines), delimiter=delimiter, strict=True)
    start = 1
    try:
        columns = [column.strip() for column in next(reader, [])]
        refuse_repeated_columns(columns, f"{path}, line 1")
        start = reader.line_num + 1
        for cells in reader:
            place, start = f"{path}, line {start}", reader.line_num + 1
            if not any(cells):
                continue
            if len(cells) != len(columns):
                remedy = f"quote cells that hold quotes, line breaks or {delimiter!r}"
                raise DataError(f"{len(cells)} cells instead of {len(columns)}", where=place, remedy=remedy)
            yield place, {column: cell or None for column, cell in zip(columns, cells, strict=True)}
    except csv.Error as error:
        problem, remedy = f"malformed CSV ({error})", "close the quotes of that row, and double those within a cell"
        raise DataError(problem, where=f"{path}, line {start}", remedy=remedy) from None


def refuse_repeated_columns(columns: Iterable[str], where: object) -> None:
    """Raise DataError if two columns have the same name; columns without a name do not count."""
    for column, count in Counter(columns).items():
        if column and count > 1:
            raise DataError(f"{count} columns are named {column!r}", where=where, remedy="rename or delete one of them")


def _parquet_rows(path: Path) -> Iterator[tuple[str, Row]]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        remedy = "pip install 'cotdistill[data]'"
        raise DataError("reading Parquet needs the package pyarrow", where=path, remedy=remedy) from None
    number = 0
    try:
        with ParquetFile(path, page_checksum_verification=True) as file:
            refuse_repeated_columns(file.schema_arrow.names, path)
            for batch in file.iter_batches():
                for row in _shortest(batch).to_pylist():
                    number += 1
                    yield f"{path}, row {number}", row
    except (ArrowException, OSError, ValueError) as error:
        line = " ".join(str(error).split())
        remedy = "write or download the file again"
        raise DataError(f"unreadable after row {number} ({line})", where=path, remedy=remedy) from None


def _shortest(batch: Any) -> Any:
    """``batch`` with half- and single-precision numbers as they were written: 0.1, not 0.10000000149011612."""
    import pyarrow

    for index, column in enumerate(batch.schema):
        if column.type in (pyarrow.float16(), pyarrow.float32()):
            written = batch.column(index).cast(pyarrow.string()).cast(pyarrow.float64())
            batch = batch.set_column(index, column.name, written)
    return batch
