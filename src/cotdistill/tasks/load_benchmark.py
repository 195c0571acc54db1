"""Loading a benchmark: from a data folder, or from the hub."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from random import Random

from cotdistill.config import BenchmarkTask
from cotdistill.errors import ConfigError, DataError, nearest
from cotdistill.records import AnswerType, Question
from cotdistill.storage.jsonl import read_numbered_rows
from cotdistill.tasks.answers.types import read_gold
from cotdistill.tasks.benchmarks import Benchmark, Row
from cotdistill.tasks.choices import letter
from cotdistill.tasks.hub import load_split
from cotdistill.tasks.tables import read_table
from cotdistill.tasks.task import Task, refuse_repeated_ids

DATA_VARIABLE = "COTDISTILL_DATA"
"""Environment variable with the data folder for settings without ``data_dir``."""


def find_data_file(relative: str, data_dir: Path | None) -> Path | None:
    """The file below ``data_dir`` or, if that is None, below $COTDISTILL_DATA; None if it is not there."""
    folder = data_dir or os.environ.get(DATA_VARIABLE)
    path = Path(folder) / relative if folder else None
    return path if path and path.is_file() else None


def load_benchmark(benchmark: Benchmark, config: BenchmarkTask) -> Task:
    """Both splits, cut to ``num_train`` and ``num_test`` questions of each subtask.

    Raises DataError as ``tasks.load_task`` says, and ConfigError for an unknown subtask.
    """
    num_faulty = 0
    splits: dict[str, tuple[Question, ...]] = {"train": (), "test": ()}
    for split, limit in (("train", config.num_train), ("test", config.num_test)):
        if split in benchmark.files:
            questions = _of_subtasks(benchmark, _questions(benchmark, split, config), config)
            sound = [q for q in questions if not (config.exclude_faulty and q.id in benchmark.faulty)]
            num_faulty += len(questions) - len(sound)
            splits[split] = _first_of_each_task(sound, limit)
    dropped = {"faulty": num_faulty} if num_faulty else {}
    return Task(benchmark.name, splits["train"], splits["test"], dropped)


def _first_of_each_task(questions: Iterable[Question], limit: int | None) -> tuple[Question, ...]:
    counts: dict[str, int] = {}
    kept = []
    for question in questions:
        counts[question.task] = counts.get(question.task, 0) + 1
        if limit is None or counts[question.task] <= limit:
            kept.append(question)
    return tuple(kept)


def _of_subtasks(benchmark: Benchmark, questions: list[Question], config: BenchmarkTask) -> list[Question]:
    """The questions of the subtasks that the config names, by default of all."""
    if config.subtasks is None:
        return questions
    known = benchmark.subtasks or {q.task.partition("/")[2] for q in questions} - {""}
    for name in config.subtasks:
        if name not in known:
            remedy = nearest(name, known) if known else "delete subtasks"
            raise ConfigError(f"{benchmark.name} has no subtask {name!r}", where="task.subtasks", remedy=remedy)
    wanted = {f"{benchmark.name}/{name}" for name in config.subtasks}
    return [question for question in questions if question.task in wanted]


def _questions(benchmark: Benchmark, split: str, config: BenchmarkTask) -> list[Question]:
    path = find_data_file(benchmark.files[split], config.data_dir)
    if path is None and config.data_dir is not None:
        where = config.data_dir / benchmark.files[split]
        raise DataError("no such file", where=where, remedy="check data_dir, or delete it to read from the hub")
    if path is None:
        rows = _hub_rows(benchmark, split, config)
    elif benchmark.from_file is None:
        rows = _columns(benchmark, split, read_table(path))
    else:
        rows = [(f"{path}, line {number}", benchmark.from_file(row)) for number, row in read_numbered_rows(path)]
    if not rows:
        raise DataError("no rows", where=path or benchmark.hub, remedy="check the data")
    if benchmark.shuffled:
        rows = [(place, shuffled(row, config.choice_seed)) for place, row in rows]
    questions = [_question(benchmark, split, row, place) for place, row in rows]
    refuse_repeated_ids(zip((question.id for question in questions), (place for place, _ in rows), strict=True))
    return questions


def _hub_rows(benchmark: Benchmark, split: str, config: BenchmarkTask) -> list[tuple[str, Row]]:
    remedy = f"set data_dir (or ${DATA_VARIABLE}) to a folder that holds {benchmark.files[split]}"
    one_config_each = bool(benchmark.hub_config is None and benchmark.subtasks)
    wanted = [name for name in benchmark.subtasks if config.subtasks is None or name in config.subtasks]
    named: list[tuple[str, Row]] = []
    for name in wanted if one_config_each else [benchmark.hub_config]:
        where, revision = benchmark.name, benchmark.revision
        on_hub = benchmark.hub_splits.get(split, split)
        rows = load_split(benchmark.hub, name, on_hub, revision=revision, where=where, remedy=remedy)
        placed = (
            (f"{benchmark.hub}, {split} row {index}", dict(row) | ({"subtask": name} if one_config_each else {}))
            for index, row in enumerate(rows)
        )
        named += _columns(benchmark, split, placed)
    return named


def _columns(benchmark: Benchmark, split: str, rows: Iterable[tuple[str, Row]]) -> list[tuple[str, Row]]:
    """Our columns from rows as they are on the hub. Raises DataError for a row with other columns."""
    made = []
    for index, (place, row) in enumerate(rows):
        try:
            made.append((place, benchmark.from_hub(row, split, index)))
        except (KeyError, AttributeError, TypeError, ValueError) as error:
            problem = f"not a row of {benchmark.hub} ({type(error).__name__}: {error})"
            remedy = "use its files, or another data_dir"
            raise DataError(problem, where=place, remedy=remedy) from None
    return made


def shuffled(row: Row, seed: int) -> Row:
    """The choices in an order that follows from the seed and the id; the first is the right one."""
    order = list(range(len(row["choices"])))
    Random(f"{seed}/{row['id']}").shuffle(order)
    meta = (row.get("meta") or {}) | {"choice_seed": seed}
    return row | {"choices": [row["choices"][place] for place in order], "answer": letter(order.index(0)), "meta": meta}


def worked_rows(benchmark: Benchmark, split: str, relative: str, data_dir: Path | None) -> list[Row]:
    """The rows of a split of worked examples, which is in the data folder as ``relative``, or on the hub.

    Raises DataError if it is in neither.
    """
    path = find_data_file(relative, data_dir)
    if path is not None:
        return [row for _, row in _columns(benchmark, split, read_table(path))]
    remedy = f"set data_dir (or ${DATA_VARIABLE}) to a folder that holds {relative}"
    where, revision = benchmark.name, benchmark.revision
    found = load_split(benchmark.hub, benchmark.hub_config, split, revision=revision, where=where, remedy=remedy)
    return [row for _, row in _columns(benchmark, split, ((f"{split} row {i}", dict(r)) for i, r in enumerate(found)))]


def _question(benchmark: Benchmark, split: str, row: Row, place: str) -> Question:
    missing = [column for column in ("id", "question", "answer") if not isinstance(row.get(column), str)]
    if missing:
        raise DataError(
            f"row has no {missing[0]!r}", where=place, remedy="give every row id, question and answer as text"
        )
    choices = tuple(row.get("choices") or ()) or None
    answer_type: AnswerType = row.get("answer_type") or benchmark.answer_type
    answer = read_gold(row["answer"], answer_type, choices)
    if answer is None:
        raise DataError(f"answer {row['answer']!r} is not of type {answer_type}", where=place)
    subtask = row.get("subtask")
    return Question(
        id=row["id"],
        task=f"{benchmark.name}/{subtask}" if subtask else benchmark.name,
        split=split,
        question=row["question"].strip(),
        answer=answer,
        answer_type=answer_type,
        choices=choices,
        human_rationale=row.get("rationale"),
        meta=row.get("meta") or {},
    )
