"""The questions of files, benchmarks and generators as a stage: made once, and then read line by line.

A second arm, a seed, a resume or a worker learns their keys and their number from the stage, and reads none of them.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from cotdistill.config import AnyTask, BenchmarkTask, FileTask, ProceduralTask, identity
from cotdistill.errors import ConfigError, DataError
from cotdistill.records import Question
from cotdistill.storage.finished import FinishedStage
from cotdistill.storage.hashes import ListKey, content_key_of
from cotdistill.storage.jsonl import write_rows
from cotdistill.storage.locks import unattended
from cotdistill.storage.stages import Stage, open_stage, stage_path
from cotdistill.storage.stored import StoredRecords
from cotdistill.storage.verified import checksum
from cotdistill.tasks import load_task
from cotdistill.tasks.benchmarks import benchmark
from cotdistill.tasks.files import own_questions
from cotdistill.tasks.load_benchmark import find_data_file
from cotdistill.tasks.task import Task

QUESTIONS = "questions"
"""The folder of these stages in a folder of runs."""

VERSION = 2
"""Raised whenever a change of code changes which questions a file, benchmark or generator gives, or what is told of
them."""


SIDES: tuple[Literal["train"], Literal["test"]] = "train", "test"


class StoredQuestions(StoredRecords[Question]):
    """Questions in a file; ``asked`` is :func:`asked_key` of them, ``bare_tasks`` are the tasks of those without a
    rationale."""

    def __init__(self, path: Path, told: dict[str, Any]):
        super().__init__(path, Question.from_row, told["key"], told["number"])
        self.asked: str = told["asked"]
        self.bare_tasks = frozenset[str](told["bare_tasks"])


def bare_tasks(questions: Sequence[Question]) -> frozenset[str]:
    """The tasks of the questions without a rationale of their own."""
    if isinstance(questions, StoredQuestions):
        return questions.bare_tasks
    return frozenset(question.task for question in questions if not question.human_rationale)


def asked_key(questions: Sequence[Question]) -> str:
    """The key of what the questions ask, in their order."""
    if isinstance(questions, StoredQuestions):
        return questions.asked
    return content_key_of(question.asked for question in questions)


def stored_task(config: AnyTask, runs: Path) -> Task:
    """What ``load_task`` gives, in ``runs/questions/<key>``, made if it is not there; in memory what comes from the hub
    or from the user's function, whose content no file tells.

    Waits for another process that is making it. Raises DataError as ``load_task`` does, and then leaves nothing behind.
    """
    made_of = _identity(config, runs)
    if made_of is None:
        return load_task(config)
    try:
        with unattended(lambda line: None), open_stage(runs, QUESTIONS, made_of) as stage:
            if not stage.finished:
                _make(config, stage)
            return _read(stage.read())
    except (ConfigError, DataError):
        _remove(stage_path(runs, QUESTIONS, made_of))
        raise


def _remove(stage: Path) -> None:
    """Remove a stage that cannot be made, and the folders that were made for it alone."""
    shutil.rmtree(stage, ignore_errors=True)
    with contextlib.suppress(OSError):  # they are not empty
        stage.parent.rmdir()
        stage.parents[1].rmdir()


def _identity(config: AnyTask, runs: Path) -> dict[str, Any] | None:
    """Of files their names, since questions are named after them, and their content, wherever they lie; None where no
    file tells it."""
    if isinstance(config, ProceduralTask):
        return {"version": VERSION, "settings": identity(config)}
    if isinstance(config, BenchmarkTask):
        names = benchmark(config.name).files
        files = {side: find_data_file(name, config.data_dir) for side, name in names.items()}
        read = {side: checksum(path, runs) for side, path in files.items() if path is not None}
        settings = identity(config)
        return {"version": VERSION, "files": read, "settings": settings} if len(read) == len(names) else None
    if not isinstance(config, FileTask):
        return None
    if not all(path.is_file() for path in (config.train, config.test) if path is not None):
        return None
    found = {
        side: [config.side_name(side), checksum(path, runs)]
        for side, path in zip(SIDES, (config.train, config.test), strict=True)
        if path is not None
    }
    settings = identity(config.model_copy(update={"train": None, "test": None}))
    return {"version": VERSION, "files": found, "settings": settings}


def _make(config: AnyTask, stage: Stage) -> None:
    found = own_questions(config) if isinstance(config, FileTask) else load_task(config)
    told = {
        side: _written(stage.path / f"{side}.jsonl", questions)
        for side, questions in zip(SIDES, (found.train, found.test), strict=True)
    }
    stage.finish({"name": found.name, **told}, seeds={}, dropped=found.dropped)


def _written(path: Path, questions: Iterable[Question]) -> dict[str, Any]:
    """Write questions, and say what :class:`StoredQuestions` is told of them."""
    key, asked, bare = ListKey(), ListKey(), set[str]()

    def rows() -> Iterator[dict[str, Any]]:
        for question in questions:
            row = question.to_row()
            key.add(row)
            asked.add(question.asked)
            if not question.human_rationale:
                bare.add(question.task)
            yield row

    write_rows(path, rows())
    return {"key": key.digest, "asked": asked.digest, "number": key.number, "bare_tasks": sorted(bare)}


def _read(stage: FinishedStage) -> Task:
    told = stage.summary
    train, test = (StoredQuestions(stage.path / f"{side}.jsonl", told[side]) for side in SIDES)
    return Task(told["name"], train, test, stage.dropped, stage.path)
