"""What a study is given, checked before it begins: its files of questions and its built-in models. Loads no torch."""

from __future__ import annotations

from collections.abc import Iterable

from cotdistill.config import FileTask, HumanTeacher, models_of
from cotdistill.errors import DataError, ModelError, nearest
from cotdistill.experiments.plan import Cell
from cotdistill.models.load.builtin import NANO, PREFIX, SMOLLM2
from cotdistill.storage.stages import canonical_json
from cotdistill.tasks import load_task


def check_inputs(cells: Iterable[Cell]) -> None:
    """Say what would fail one cell after another.

    Raises DataError for a file of questions that cannot be used, or has no rationales where a cell wants people's, and
    ModelError for a built-in model that there is not.
    """
    files: dict[str, FileTask] = {}
    need_rationales: set[str] = set()
    for cell in cells:
        _check_models(cell)
        for task in (cell.config.task, *(cell.config.evaluation.tasks or ())):
            if isinstance(task, FileTask):
                key = canonical_json(task.model_dump(mode="json"))
                files[key] = task
                if task is cell.config.task and cell.config.training and isinstance(cell.config.teacher, HumanTeacher):
                    need_rationales.add(key)
    for key, task in files.items():
        loaded = load_task(task)
        if key in need_rationales and not any(question.human_rationale for question in loaded.train):
            remedy = "name their column with columns: {rationale: NAME}, or take another teacher than human"
            raise DataError("no question has a rationale", where=task.train, remedy=remedy)


def _check_models(cell: Cell) -> None:
    known = (SMOLLM2, *NANO)
    for model in models_of(cell.config):
        if model.model.startswith(PREFIX) and model.model not in known:
            raise ModelError("no such built-in model", where=model.model, remedy=nearest(model.model, known))
