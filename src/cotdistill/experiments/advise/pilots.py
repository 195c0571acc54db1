"""Pilots: cells with a share of their training and their test, made and kept like any other cell."""

from __future__ import annotations

import math
from dataclasses import replace

from cotdistill.config import AnyTask, BenchmarkTask, CellConfig
from cotdistill.errors import ConfigError
from cotdistill.experiments.advise.halving import Size
from cotdistill.experiments.plan import Cell, cell_id
from cotdistill.records import count_by
from cotdistill.tasks import load_task

MIN_STEPS = 8
"""A pilot with fewer optimizer steps says nothing."""


def pilot(cell: Cell, size: Size, num_train: int) -> Cell:
    """The cell at ``size``, of ``num_train`` training questions in full; the cell itself at full size.

    Epochs are cut first, down to one, and then questions: many questions once teach more than a few of them repeatedly.
    Raises ConfigError for a pilot of fewer than MIN_STEPS steps.
    """
    training = cell.config.training
    assert training is not None, "an untrained arm needs no pilot"
    epochs, task = training.epochs_of(num_train), cell.config.task
    if size.train < 1:
        epochs *= size.train
        if epochs < 1:
            task, epochs = task.model_copy(update={"num_train": max(1, round(num_train * epochs))}), 1.0
        epochs = round(epochs, 4)
        training = training.model_copy(update={"epochs": epochs, "max_steps": None})
    num_examples = (task.num_train or num_train) * epochs
    if num_examples < MIN_STEPS * training.batch_size:
        problem = f"the budget buys pilots of {int(num_examples / training.batch_size)} steps, fewer than {MIN_STEPS}"
        raise ConfigError(problem, where="advise", remedy="raise --budget-share, or lower --keep")
    evaluation = cell.config.evaluation
    if evaluation.tasks:
        evaluation = evaluation.model_copy(
            update={"tasks": tuple(_cut_test(each, size.test) for each in evaluation.tasks)}
        )
    else:
        task = _cut_test(task, size.test)
    changes = {"task": task, "evaluation": evaluation, "training": training}
    config: CellConfig = cell.config.model_copy(update=changes)
    return replace(cell, id=cell_id(config, cell.uses), config=config)


def _cut_test(task: AnyTask, share: float) -> AnyTask:
    """The first questions of a task's test, of each subtask if it counts them separately."""
    if share >= 1:
        return task
    test = load_task(task).test
    by_subtask = isinstance(task, BenchmarkTask)
    most = max(count_by(question.task for question in test).values()) if by_subtask else len(test)
    return task.model_copy(update={"num_test": math.ceil(share * most)})
