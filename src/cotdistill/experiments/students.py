"""Which students of an experiment stay on disk (``keep_students``). Loads no torch."""

from __future__ import annotations

from pathlib import Path

from cotdistill.errors import ArtifactError
from cotdistill.experiments.plan import Cell, Plan
from cotdistill.experiments.result import CellResult, read_cell
from cotdistill.experiments.shared import all_stage_keys, stage_keys
from cotdistill.experiments.work import Say
from cotdistill.records import ACCURACY
from cotdistill.storage.removal import remove_folder

STUDENT = "student"
"""The folder of a training that holds its student."""


class KeptStudents:
    """Removes students as cells end: a student stays until every cell that needs it is done.

    With ``best`` the best one made from each model stays too: the one whose evaluation is highest in the metric of the
    first declared comparison (default: accuracy), of equals the first. A removed student is trained again only when a
    cell that is not done needs it.
    """

    def __init__(self, planned: Plan, runs: Path, say: Say):
        self._planned, self._folder, self._say = planned, runs / planned.name, say
        self._policy = planned.experiment.keep_students
        declared = planned.experiment.comparisons
        self._metric = declared[0].metric if declared else ACCURACY
        self._waiting: dict[str, set[str]] = {}
        self._folders: dict[str, Path] = {}
        self._best: dict[str, tuple[float, str]] = {}
        if self._policy == "all":
            return
        results = [read_cell(cell, self._folder) for cell in planned.distinct]
        for result in results:
            if result.status != "done":
                for key in all_stage_keys(result.cell, planned):
                    self._waiting.setdefault(key, set()).add(result.cell.id)
        done = [result for result in results if result.status == "done" and "training" in result.stages]
        for result in done:
            self._note(result)
        for result in done:
            self._sweep({stage_keys(result.cell)["training"]})

    def ended(self, cell: Cell) -> None:
        """Remove what nobody needs any more now that a cell has ended."""
        if self._policy == "all" or (result := read_cell(cell, self._folder)).status != "done":
            return
        keys = all_stage_keys(cell, self._planned)
        for key in keys:
            self._waiting.get(key, set()).discard(cell.id)
        if "training" in result.stages:
            keys |= self._note(result)
        self._sweep(keys)

    def _note(self, result: CellResult) -> set[str]:
        """Remember where a student is and whether it is the best; returns the key of one that is not so any more."""
        key, model = stage_keys(result.cell)["training"], result.cell.config.student.model_dump_json()
        self._folders[key] = result.stages["training"]
        value, (most, best) = self._value(result), self._best.get(model, (-1.0, key))
        if value <= most:
            return set()
        self._best[model] = (value, key)
        return {best}

    def _value(self, result: CellResult) -> float:
        summary = result.summary("evaluation")
        return summary["accuracy"] if self._metric == ACCURACY else summary["metrics"][self._metric]["value"]

    def _sweep(self, keys: set[str]) -> None:
        kept = {key for _, key in self._best.values()} if self._policy == "best" else set()
        for key in keys & self._folders.keys() - kept:
            if not self._waiting.get(key):
                self._remove(self._folders[key])

    def _remove(self, folder: Path) -> None:
        try:
            size = remove_folder(folder, STUDENT)
        except ArtifactError as error:  # somebody works with it
            self._say(f"{error.where}: {error.problem}; the student stays")
        else:
            if size:
                self._say(f"{folder / STUDENT}: removed, {size / 1e6:,.1f} MB (keep_students: {self._policy})")
