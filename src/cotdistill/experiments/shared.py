"""Which stages a cell needs, told apart by what they are made from. Loads neither torch, data nor models.

These keys are not those of the folders, which also depend on the data and the models themselves; they only say, before
anything is loaded, which cells share a stage.
"""

from __future__ import annotations

from typing import Any

from cotdistill.config import CachedTeacher, identity
from cotdistill.config.experiment import settled
from cotdistill.experiments.plan import Cell, Plan
from cotdistill.storage.hashes import content_key

NOUNS = ("annotation", "teacher_signal", "training", "evaluation")


def stage_keys(cell: Cell) -> dict[str, str]:
    """A key for each stage that a cell needs, by noun, in the order in which the stages are made."""
    config = settled(cell.config)
    tasks = [identity(task, places=True) for task in config.evaluation.tasks or (config.task,)]
    testing = {"evaluation": identity(config.evaluation.model_copy(update={"tasks": None})), "tasks": tasks}
    student = [identity(config.student), cell.uses]
    if config.training is None:
        return {"evaluation": content_key([student, testing])}
    annotation = {
        "task": identity(config.task, places=True),
        "teacher": identity(config.teacher, places=True),
        "annotation": identity(config.annotation),
        "against": tasks,
        "student": student if config.annotation.selection else None,  # some selections ask it
    }
    keys = {"annotation": content_key(annotation)}
    training = identity(config.training, places=True)
    if isinstance(config.training.signal, CachedTeacher):
        signal = [
            training["signal"],
            config.training.max_length,
            config.training.too_long,
            config.training.dtype,
            cell.uses,
        ]
        keys["teacher_signal"] = content_key([keys["annotation"], _tokens_of(student), signal])
    keys["training"] = content_key([keys["annotation"], student, training, config.seed])
    keys["evaluation"] = content_key([keys["training"], testing])
    return keys


def all_stage_keys(cell: Cell, plan: Plan) -> set[str]:
    """The keys of a cell's stages, and of those of the students of other arms that it uses."""
    others = (all_stage_keys(plan.cell(id), plan) for id in cell.uses.values())
    return set(stage_keys(cell).values()).union(*others)


def _tokens_of(student: list[Any]) -> Any:
    """A model that is cut keeps its tokenizer, and so its examples."""
    return [{name: value for name, value in student[0].items() if name != "keep_layers"}, student[1]]
