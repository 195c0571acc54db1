"""Which stages a cell needs, told apart by what they are made from. Loads neither torch, data nor models.

These keys are not those of the folders, which also depend on the data and the models themselves; they only say, before
anything is loaded, which cells share a stage.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cotdistill.config import identity
from cotdistill.config.experiment import settled
from cotdistill.experiments.plan import Cell, Plan
from cotdistill.storage.hashes import content_key
from cotdistill.training.held_out import asking

NOUNS = ("annotation", "rollouts", "teacher_signal", "training", "evaluation")


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
    drawn = None
    if config.training.on_policy is not None and config.training.offline_samples:
        how = identity(config.training.on_policy.model_copy(update={"share": 1.0, "offline": True}))
        drawn = [keys["annotation"], student, how, config.training.dtype]
        keys["rollouts"] = content_key(drawn)
    if config.training.captures:
        signal = [
            drawn and [drawn, config.training.on_policy and config.training.on_policy.share == 1],
            training["signal"],
            config.training.max_length,
            config.training.too_long,
            config.training.loss_turns,
            config.training.dtype,
            cell.uses,
        ]
        if config.training.validation and config.training.validation.data:
            signal.append(training["validation"]["data"])
        keys["teacher_signal"] = content_key([keys["annotation"], _tokens_of(student), signal])
    validation = config.training.validation
    checked = [identity(asking(config.evaluation)), tasks] if validation else []
    keys["training"] = content_key([keys["annotation"], student, training, config.seed, *checked])
    keys["evaluation"] = content_key([keys["training"], testing])
    return keys


def all_stage_keys(cell: Cell, plan: Plan) -> set[str]:
    """The keys of a cell's stages, and of those of the students of other arms that it uses."""
    others = (all_stage_keys(plan.cell(id), plan) for id in cell.uses.values())
    return set(stage_keys(cell).values()).union(*others)


Needs = Mapping[str, set[str]]
"""The keys of the unfinished stages that cells need, by id."""


def unfinished_stages(missing: Iterable[Cell], cells: Iterable[Cell], plan: Plan) -> Needs:
    """What each of the ``missing`` cells needs of what no other of the ``cells`` has made."""
    needs = {cell.id: all_stage_keys(cell, plan) for cell in missing}
    made: set[str] = set().union(*(all_stage_keys(cell, plan) for cell in cells if cell.id not in needs))
    return {id: keys - made for id, keys in needs.items()}


class Queue:
    """Cells to make, in order. One that shares an unfinished stage with a running one goes after those that do not.

    A stage that some cell has made is forgotten: others read it.
    """

    def __init__(self, cells: Sequence[Cell], needs: Needs):
        self._pending = {cell.id: cell for cell in cells}
        self._needs = {id: set(needs[id]) for id in self._pending}
        self._users: dict[str, list[str]] = {}
        for id, keys in self._needs.items():
            for key in keys:
                self._users.setdefault(key, []).append(id)
        self._running: set[str] = set()

    def __len__(self) -> int:
        return len(self._pending)

    def next(self) -> Cell:
        """Take the first cell that needs nothing that a running one may be making, or else one that will wait."""
        busy: set[str] = set().union(*(self._needs[id] for id in self._running))
        id = next((id for id in self._pending if busy.isdisjoint(self._needs[id])), next(iter(self._pending)))
        self._running.add(id)
        return self._pending.pop(id)

    def ended(self, cell: Cell, *, made: bool) -> None:
        """Say that a cell runs no more, and whether its stages are ``made``."""
        self._running.remove(cell.id)
        for key in list(self._needs[cell.id]) if made else ():
            for user in self._users[key]:
                self._needs[user].discard(key)


def sharers_apart(cells: Sequence[Cell], needs: Needs) -> list[Cell]:
    """The first cell to need each stage goes first, so that no two of those that start together share one."""
    seen: set[str] = set()
    first: list[Cell] = []
    others: list[Cell] = []
    for cell in cells:
        (first if seen.isdisjoint(needs[cell.id]) else others).append(cell)
        seen |= needs[cell.id]
    return first + others


def _tokens_of(student: list[Any]) -> Any:
    """A model that is cut keeps its tokenizer, and so its examples."""
    return [{name: value for name, value in student[0].items() if name != "keep_layers"}, student[1]]
