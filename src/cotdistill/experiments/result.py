"""What an experiment has on disk: each cell's state, its predictions, the declared comparisons. Does not load torch.

runs/<name>/experiment.yaml     the file as it was read, with its paths resolved
runs/<name>/cells/<id>.json     status (done, begun, failed), error, stages (folders relative to runs), seconds
runs/<name>/summary.json        ExperimentResult.to_row(): without times, so equal results give equal files
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from cotdistill.config import Experiment, Factors
from cotdistill.errors import ArtifactError, DataError
from cotdistill.evaluation.read import QUESTIONS, questions_of
from cotdistill.evaluation.statistics.comparisons import ComparisonResult, holm, pooled, score
from cotdistill.evaluation.stored import StoredPredictions
from cotdistill.experiments.plan import ArmPair, Cell, Plan, plan
from cotdistill.records import ACCURACY, Prediction, Question, Score
from cotdistill.storage.finished import FinishedStage, is_finished, open_finished
from cotdistill.storage.texts import WRONG_SHAPE

Status = Literal["done", "failed", "missing"]


@dataclass(frozen=True, slots=True)
class CellResult:
    """What became of a cell.

    ``stages`` maps a noun (annotation, teacher_signal, training, evaluation) to its folder; an untrained cell has
    evaluation alone. ``seconds`` is what they took to make, shared ones included; ``error`` is the one-line error of a
    failed cell. A cell is missing if it never ran or did not run to its end, if a folder of its stages is gone, or if
    its predictions are damaged (which ``error`` then says).
    """

    cell: Cell
    status: Status
    error: str | None = None
    seconds: float | None = None
    stages: dict[str, Path] = field(default_factory=dict)

    def stage(self, noun: str) -> FinishedStage:
        """One of its stages. Raises KeyError if it has none of this noun, ArtifactError if it is damaged."""
        return open_finished(self.stages[noun])

    def summary(self, noun: str) -> dict[str, Any]:
        """The summary of one of its stages: for a training, its tokens, steps and seconds. Empty if it has none."""
        return self.stage(noun).summary if noun in self.stages else {}

    def predictions(self) -> Sequence[Prediction]:
        """Every prediction, in the order of the questions, read when it is asked for; empty for a cell that is not
        done. Statistics take them without reading what the models wrote."""
        return _predictions(self.stages["evaluation"]) if self.status == "done" else ()

    def questions(self) -> tuple[Question, ...]:
        """The questions that were asked, in order; empty for a cell that is not done."""
        return questions_of(self.stage("evaluation")) if self.status == "done" else ()

    def score(self) -> Score | None:
        """Accuracy with Wilson's interval and the verdict counts; None for a cell that is not done."""
        return score(self.predictions()) if self.status == "done" else None


@dataclass(frozen=True, slots=True)
class ArmResult:
    """An arm: its name, its factors by axis (without the seed), and its cells, one per seed, done or not."""

    name: str
    factors: Factors
    cells: tuple[CellResult, ...]

    @property
    def done(self) -> tuple[CellResult, ...]:
        return tuple(cell for cell in self.cells if cell.status == "done")

    @property
    def untrained(self) -> bool:
        return self.cells[0].cell.untrained

    def accuracies(self) -> dict[int, float]:
        """Accuracy (a fraction) by seed, of the cells that are done."""
        return {result.cell.seed: found.accuracy for result in self.done if (found := result.score())}

    def accuracy(self) -> float | None:
        """The mean over the seeds that are done; None if there are none."""
        found = self.accuracies().values()
        return sum(found) / len(found) if found else None


@dataclass(frozen=True, slots=True)
class ComparedArms:
    """A declared comparison of two arms. ``result`` covers the seeds for which both are done, and its adjusted p is
    Holm's over all declared comparisons, including those still missing; if there is none, ``problem`` says why.
    """

    pair: ArmPair
    result: ComparisonResult | None
    problem: str | None = None

    def __str__(self) -> str:
        if self.result is None:
            return f"{self.pair.a} against {self.pair.b}: {self.problem}"
        low, high = (100 * bound for bound in self.result.interval)
        difference = f"{100 * self.result.difference:+.1f} points ({low:+.1f} to {high:+.1f})"
        seeds = "1 seed, of these students" if self.result.num_seeds == 1 else f"{self.result.num_seeds} seeds"
        p_value = f"Holm's p {self.result.adjusted_p_value:.2g}"
        metric = f" in {self.pair.metric}" if self.pair.metric != ACCURACY else ""
        return f"{self.pair.a} against {self.pair.b}{metric}: {difference}, {p_value}, {seeds}"


@dataclass(frozen=True, slots=True)
class ExperimentResult:
    """An experiment as far as it is done. ``path`` is its folder below runs; ``arms`` are by name, in order."""

    plan: Plan
    path: Path
    arms: dict[str, ArmResult]
    comparisons: tuple[ComparedArms, ...]

    @property
    def experiment(self) -> Experiment:
        return self.plan.experiment

    @property
    def cells(self) -> tuple[CellResult, ...]:
        return tuple(cell for arm in self.arms.values() for cell in arm.cells)

    @property
    def done(self) -> tuple[CellResult, ...]:
        return self.with_status("done")

    @property
    def failed(self) -> tuple[CellResult, ...]:
        return self.with_status("failed")

    @property
    def missing(self) -> tuple[CellResult, ...]:
        return self.with_status("missing")

    def with_status(self, status: Status) -> tuple[CellResult, ...]:
        return tuple(cell for cell in self.cells if cell.status == status)

    def to_row(self) -> dict[str, Any]:
        """All results, as JSON: arms with their scores by seed, comparisons, and what failed or is missing."""
        return {
            "name": self.experiment.name,
            "question": self.experiment.question,
            "cells": {status: len(self.with_status(status)) for status in ("done", "failed", "missing")},
            "arms": {name: _arm_row(arm) for name, arm in self.arms.items()},
            "comparisons": [
                {"declared": compared.pair.declared, "a": compared.pair.a, "b": compared.pair.b}
                | (compared.result.to_row() if compared.result else {"problem": compared.problem})
                for compared in self.comparisons
            ],
            "failed": {result.cell.id: {"arm": result.cell.arm, "error": result.error} for result in self.failed},
            "missing": [result.cell.id for result in self.missing],
            "removed_students": [title for title, folder in self.students().items() if folder is None],
        }

    def students(self) -> dict[str, Path | None]:
        """The folder of each finished student, by the title of its cell; None if it was removed (``keep_students``)."""
        trained = [cell for cell in self.done if "training" in cell.stages]
        folders = {cell.cell.title: cell.stages["training"] / "student" for cell in trained}
        return {title: folder if folder.is_dir() else None for title, folder in folders.items()}

    def counts(self) -> str:
        """How many cells there are, by status."""
        counts = ", ".join(f"{len(self.with_status(status))} {status}" for status in ("done", "failed", "missing"))
        return f"{self.experiment.name}: {counts}"

    def lines(self) -> list[str]:
        """The result in a few words: cells, accuracy by arm, comparisons, errors."""
        arms = [
            f"{name}: {accuracy:.1%} over {len(arm.done)} of {len(arm.cells)} cells"
            for name, arm in self.arms.items()
            if (accuracy := arm.accuracy()) is not None
        ]
        errors = [f"{each.cell.id} {each.cell.title}: {each.error}" for each in self.failed]
        return [self.counts(), *arms, *map(str, self.comparisons), *errors]


def _arm_row(arm: ArmResult) -> dict[str, Any]:
    seeds = {str(result.cell.seed): found.to_row() for result in arm.done if (found := result.score())}
    return {"factors": arm.factors, "accuracy": arm.accuracy(), "seeds": seeds}


def load_result(experiment: Experiment, runs: Path, *, only: Cell | None = None) -> ExperimentResult:
    """What is on disk of ``experiment`` below ``runs``, or of ``only`` one of its cells; nothing is run.

    Raises ConfigError as :func:`plan` does.
    """
    planned = plan(experiment) if only is None else Plan(experiment, (only,), ())
    path, asked = runs / experiment.name, set[str]()
    arms = {
        name: ArmResult(
            name, cells[0].factors, tuple(_with_sound_predictions(read_cell(cell, path), asked) for cell in cells)
        )
        for name, cells in planned.arms.items()
    }
    return ExperimentResult(planned, path, arms, _compared(planned, arms))


def cell_path(cell: Cell, folder: Path) -> Path:
    """The file that holds a cell's state."""
    return folder / "cells" / f"{cell.id}.json"


def read_cell(cell: Cell, folder: Path) -> CellResult:
    """A cell's state; one whose file is damaged, or whose stages are gone, counts as missing and is made again."""
    try:
        state = json.loads(cell_path(cell, folder).read_text(encoding="utf-8"))
        stages = {noun: folder.parent / place for noun, place in state["stages"].items()}
        if state["status"] == "failed":
            return CellResult(cell, "failed", error=str(state["error"]))
        if all(map(is_finished, stages.values())):
            status: Status = "done" if "evaluation" in stages else "missing"
            return CellResult(cell, status, None, float(state["seconds"]), stages)
    except (OSError, *WRONG_SHAPE):
        pass  # what is damaged is made again, as what is missing
    return CellResult(cell, "missing")


def _with_sound_predictions(result: CellResult, asked: set[str]) -> CellResult:
    """The cell, or a missing one if its predictions are damaged: the next run makes them again.

    Questions of the same content are read, and checked, where they were first: ``asked`` are their checksums.
    """
    if result.status != "done":
        return result
    try:
        evaluation = result.stage("evaluation")
        _ = _predictions(evaluation.path).outcomes
        if QUESTIONS in evaluation and (content := evaluation.checksum(QUESTIONS)) not in asked:
            evaluation.file(QUESTIONS)
            asked.add(content)
    except ArtifactError as error:
        return CellResult(result.cell, "missing", f"{error.where}: {error.problem}")
    return result


@cache
def _predictions(folder: Path) -> StoredPredictions:
    """A finished evaluation never changes, so its outcomes are read once; reports use each several times."""
    return StoredPredictions(open_finished(folder))


def _compared(planned: Plan, arms: dict[str, ArmResult]) -> tuple[ComparedArms, ...]:
    found = [_compare(pair, arms[pair.a], arms[pair.b]) for pair in planned.comparisons]
    results = iter(holm([compared.result for compared in found if compared.result], family_size=len(found)))
    return tuple(ComparedArms(compared.pair, next(results)) if compared.result else compared for compared in found)


def _compare(pair: ArmPair, a: ArmResult, b: ArmResult) -> ComparedArms:
    pairs = seed_pairs(a, b)
    if not pairs:
        return ComparedArms(pair, None, "no seed for which both arms are done")
    predictions = [(one.predictions(), other.predictions()) for one, other in pairs.values()]
    try:
        return ComparedArms(pair, pooled(predictions, names=(pair.a, pair.b), metric=pair.metric))
    except DataError as error:
        return ComparedArms(pair, None, str(error))


def seed_pairs(a: ArmResult, b: ArmResult) -> dict[int, tuple[CellResult, CellResult]]:
    """The cells of both arms, by seed, for which both are done. An untrained student is the same under every seed."""
    seeds = dict.fromkeys(result.cell.seed for arm in (a, b) if not arm.untrained for result in arm.done)
    seeds = seeds or dict.fromkeys(result.cell.seed for result in a.done)
    cells_a, cells_b = (
        {seed: arm.done[0] for seed in seeds if arm.done} if arm.untrained else {r.cell.seed: r for r in arm.done}
        for arm in (a, b)
    )
    return {seed: (cells_a[seed], cells_b[seed]) for seed in seeds if seed in cells_a and seed in cells_b}
