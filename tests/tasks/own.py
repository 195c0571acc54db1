"""Files of questions as users have them, and the questions that are read from them."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from cotdistill.config import FileTask
from cotdistill.errors import DataError
from cotdistill.records import Question
from cotdistill.tasks import load_task

SUMS = [{"question": f"What is {n} + {n}?", "answer": str(2 * n)} for n in range(200)]


def write_jsonl(path: Path, rows: list[Any]) -> Path:
    open_text = gzip.open if path.suffix == ".gz" else open
    with open_text(path, "wt", encoding="utf-8") as file:
        file.writelines((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    return path


def write_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def load_all(path: Path, **settings: Any) -> list[Question]:
    """The questions of ``path`` in its order."""
    return list(load_task(FileTask(test=path, **settings)).test)


def refusal(path: Path, **settings: Any) -> str:
    """The one line in which ``path`` is refused, without its folder."""
    with pytest.raises(DataError) as error:
        load_all(path, **settings)
    line = str(error.value)
    assert line.isprintable()
    return line.removeprefix(f"{path.parent}/")
