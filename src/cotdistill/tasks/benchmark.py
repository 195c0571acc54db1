"""What a benchmark file declares, and how a benchmark is loaded: from a data folder, or from the hub."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cotdistill.config import BenchmarkTask
from cotdistill.errors import DataError
from cotdistill.records import AnswerType, Question, read_numbered_rows
from cotdistill.tasks.answer_types import read_gold
from cotdistill.tasks.task import Task, refuse_repeated_ids

DATA_VARIABLE = "COTDISTILL_DATA"
"""Environment variable with the data folder for settings that leave ``data_dir`` out."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark's declaration.

    ``files`` maps a split to a path below the data folder (JSON Lines with id, question, choices, answer, rationale,
    and format "human" where the rationale is one). ``hub`` names a hub data set with the splits train and test;
    ``from_hub(row, split, index)`` makes the same columns of one of its rows.
    """

    name: str
    answer_type: AnswerType
    files: dict[str, str]
    hub: str
    from_hub: Callable[[dict[str, Any], str, int], dict[str, Any]]
    hub_config: str | None = None


def find_data_file(relative: str, data_dir: Path | None) -> Path | None:
    """The file below ``data_dir`` or, where that is None, below $COTDISTILL_DATA; None where it is not there."""
    folder = data_dir or os.environ.get(DATA_VARIABLE)
    path = Path(folder) / relative if folder else None
    return path if path and path.is_file() else None


def load_benchmark(benchmark: Benchmark, config: BenchmarkTask) -> Task:
    """Both splits, cut to ``num_train`` and ``num_test`` questions. Raises DataError as ``tasks.load_task`` says."""
    train, test = (_questions(benchmark, split, config.data_dir) for split in ("train", "test"))
    return Task(benchmark.name, tuple(train[: config.num_train]), tuple(test[: config.num_test]))


def _questions(benchmark: Benchmark, split: str, data_dir: Path | None) -> list[Question]:
    path = find_data_file(benchmark.files[split], data_dir)
    if path is None and data_dir is not None:
        where = data_dir / benchmark.files[split]
        raise DataError("no such file", where=where, remedy="check data_dir, or leave it out to read from the hub")
    if path is None:
        rows = _hub_rows(benchmark, split)
    else:
        rows = [(f"{path}, line {number}", _own_columns(row)) for number, row in read_numbered_rows(path)]
    if not rows:
        raise DataError("no rows", where=path or benchmark.hub, remedy="check the data")
    questions = [_question(benchmark, split, row, place) for place, row in rows]
    refuse_repeated_ids(zip((question.id for question in questions), (place for place, _ in rows), strict=True))
    return questions


def _own_columns(row: dict[str, Any]) -> dict[str, Any]:
    """A data folder's row may hold a model's rationale: only a human one belongs to the question."""
    return row if row.get("format") == "human" else row | {"rationale": None}


def _hub_rows(benchmark: Benchmark, split: str) -> list[tuple[str, dict[str, Any]]]:
    remedy = f"set data_dir (or ${DATA_VARIABLE}) to a folder that holds {benchmark.files[split]}"
    try:
        import datasets
    except ImportError:
        raise DataError(
            "reading from the hub needs the package datasets",
            where=benchmark.name,
            remedy=f"pip install 'cotdistill[data]', or {remedy}",
        ) from None
    try:
        rows = datasets.load_dataset(benchmark.hub, benchmark.hub_config, split=split)
    except Exception as error:  # network, hub and cache fail in many ways, none of which is ours
        problem = f"cannot load {benchmark.hub} from the hub ({' '.join(str(error).split())})"
        raise DataError(problem, where=benchmark.name, remedy=remedy) from None
    return [
        (f"{benchmark.hub}, {split} row {index}", benchmark.from_hub(dict(row), split, index))
        for index, row in enumerate(rows)
    ]


def _question(benchmark: Benchmark, split: str, row: dict[str, Any], place: str) -> Question:
    missing = [column for column in ("id", "question", "answer") if not isinstance(row.get(column), str)]
    if missing:
        raise DataError(f"no {missing[0]!r}", where=place, remedy="give every row id, question and answer as text")
    choices = tuple(row.get("choices") or ()) or None
    answer = read_gold(row["answer"], benchmark.answer_type, choices)
    if answer is None:
        raise DataError(f"answer {row['answer']!r} is no {benchmark.answer_type}", where=place)
    return Question(
        id=row["id"],
        task=benchmark.name,
        split=split,
        question=row["question"].strip(),
        answer=answer,
        answer_type=benchmark.answer_type,
        choices=choices,
        human_rationale=row.get("rationale"),
    )
