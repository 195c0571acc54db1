"""The user's own files of questions, read once before a study begins. Loads no torch."""

from __future__ import annotations

from collections.abc import Iterable

from cotdistill.artifacts import canonical_json
from cotdistill.config import FileTask, HumanTeacher
from cotdistill.errors import DataError
from cotdistill.studies.plan import Cell
from cotdistill.tasks import load_task


def check_own_files(cells: Iterable[Cell]) -> None:
    """Raise DataError for a file that cannot be used: better at once than by one cell after another."""
    files: dict[str, FileTask] = {}
    read_by_people: set[str] = set()
    for cell in cells:
        for task in (cell.config.task, *(cell.config.evaluation.tasks or ())):
            if isinstance(task, FileTask):
                key = canonical_json(task.model_dump(mode="json"))
                files[key] = task
                if task is cell.config.task and cell.config.training and isinstance(cell.config.teacher, HumanTeacher):
                    read_by_people.add(key)
    for key, task in files.items():
        loaded = load_task(task)
        if key in read_by_people and not any(question.human_rationale for question in loaded.train):
            remedy = "name their column with columns: {rationale: NAME}, or take another teacher than human"
            raise DataError("no question has a rationale", where=task.train, remedy=remedy)
