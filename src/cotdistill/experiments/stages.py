"""Which stages a cell needs, told apart by what they are made from. Loads no torch, no data and no model.

These keys are not those of the folders, which also depend on the data and the models themselves; they only say, before
anything is loaded, which cells share a stage.
"""

from __future__ import annotations

from typing import Any

from cotdistill.config import AnswerOnlyTeacher, CachedTeacher, HumanTeacher, RunConfig
from cotdistill.storage.stages import content_key

NOUNS = ("annotation", "teacher_signal", "training", "evaluation")


def stage_keys(config: RunConfig) -> dict[str, str]:
    """A key for each stage that a cell needs, by noun, in the order in which they are made."""
    tasks = [task.model_dump(mode="json") for task in config.evaluation.tasks or (config.task,)]
    testing = {"evaluation": config.evaluation.model_dump(mode="json", exclude={"tasks"}), "tasks": tasks}
    student = config.student.model_dump(mode="json")
    if config.training is None:
        return {"evaluation": content_key([student, testing])}
    ignored = {"granularity", "format"} if isinstance(config.teacher, HumanTeacher | AnswerOnlyTeacher) else set()
    keys = {
        "annotation": content_key(
            {
                "task": config.task.model_dump(mode="json"),
                "teacher": config.teacher.model_dump(mode="json"),
                "annotation": config.annotation.model_dump(mode="json", exclude=ignored),
                "against": tasks,
                "student": student if config.annotation.selection else None,  # some selections ask it
            }
        )
    }
    training = config.training.model_dump(mode="json", exclude={"checkpoint_every"})
    if isinstance(config.training.signal, CachedTeacher):
        signal = {name: training[name] for name in ("signal", "max_length", "dtype")}
        keys["teacher_signal"] = content_key([keys["annotation"], _tokens_of(student), signal])
    keys["training"] = content_key([keys["annotation"], student, training, config.seed])
    keys["evaluation"] = content_key([keys["training"], testing])
    return keys


def _tokens_of(student: dict[str, Any]) -> Any:
    """A model that is cut keeps its tokenizer, and so its examples."""
    return {name: value for name, value in student.items() if name != "keep_layers"}
