"""Rows of the user's own files (JSON Lines, CSV, Parquet), each with the place that an error message can name."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cotdistill.errors import DataError
from cotdistill.storage.jsonl import read_numbered_rows

Row = dict[str, Any]


def read_table(path: Path) -> Iterator[tuple[str, Row]]:
    """``(place, row)`` for each row of ``path``. Raises DataError for a file that is missing, malformed or unknown."""
    if not path.is_file():
        raise DataError("no such file", where=path, remedy="check the path")
    name = path.name.lower()
    if name.endswith((".jsonl", ".jsonl.gz")):
        return ((f"{path}, line {number}", row) for number, row in read_numbered_rows(path))
    if name.endswith(".csv"):
        return _csv_rows(path)
    if name.endswith(".parquet"):
        return _parquet_rows(path)
    raise DataError("unknown kind of file", where=path, remedy="use .jsonl, .jsonl.gz, .csv or .parquet")


def _csv_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """Rows of a CSV file whose first line names the columns; an empty cell is None."""
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(lines, strict=True)
        try:
            columns = next(reader, [])
            for cells in reader:
                place = f"{path}, line {reader.line_num}"
                if not cells:
                    continue
                if len(cells) != len(columns):
                    remedy = "quote cells that hold commas, quotes or line breaks"
                    raise DataError(f"{len(cells)} cells in place of {len(columns)}", where=place, remedy=remedy)
                yield place, {column: cell or None for column, cell in zip(columns, cells, strict=True)}
        except csv.Error as error:
            raise DataError(f"malformed CSV ({error})", where=f"{path}, line {reader.line_num}") from None
        except UnicodeDecodeError as error:
            raise DataError(f"no UTF-8 text after line {reader.line_num} ({error.reason})", where=path) from None


def _parquet_rows(path: Path) -> Iterator[tuple[str, Row]]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        remedy = "pip install 'cotdistill[data]'"
        raise DataError("reading Parquet needs the package pyarrow", where=path, remedy=remedy) from None
    number = 0
    try:
        with ParquetFile(path) as file:
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", row
    except ArrowException as error:
        line = " ".join(str(error).split())
        raise DataError(f"unreadable after row {number} ({line})", where=path, remedy="write the file again") from None
