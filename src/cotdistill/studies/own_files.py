"""The user's own files of questions, read once before a study begins. Loads no torch."""

from __future__ import annotations

from collections.abc import Iterable

from cotdistill.artifacts import canonical_json
from cotdistill.config import FileTask
from cotdistill.studies.plan import Cell
from cotdistill.tasks import load_task


def check_own_files(cells: Iterable[Cell]) -> None:
    """Raise DataError for a file that cannot be used: better at once than by one cell after another."""
    tasks = [task for cell in cells for task in (cell.config.task, *(cell.config.evaluation.tasks or ()))]
    files = {canonical_json(task.model_dump(mode="json")): task for task in tasks if isinstance(task, FileTask)}
    for task in files.values():
        load_task(task)
