"""Finished evaluations, read: an evaluation's folder, or that of tasks of lm-eval. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cotdistill.errors import DataError
from cotdistill.records import Prediction, Question
from cotdistill.storage.finished import FinishedStage, is_finished, open_finished

QUESTIONS, PREDICTIONS = "questions.jsonl", "predictions.jsonl"


@dataclass(frozen=True, slots=True)
class Judged:
    """What an evaluation holds: its questions and predictions, in the same order.

    ``first_statement`` is True where the answer was asked for before its rationale, and judged by what it states first.
    """

    questions: tuple[Question, ...]
    predictions: tuple[Prediction, ...]
    first_statement: bool


def read_evaluation(path: Path) -> Judged:
    """The evaluation in the folder ``path``.

    Raises DataError for a folder that is none and for an evaluation that is not finished, ArtifactError for a file
    that is not what was written.
    """
    if not is_finished(path):
        begun = (path / QUESTIONS).is_file()  # those with the longest prompts come first: what is done is no fair part
        problem = "this evaluation is not finished" if begun else "no evaluation here"
        goes_on = "finish it: the command that began it goes on"
        raise DataError(problem, where=path, remedy=goes_on if begun else _WANTED)
    stage = open_finished(path)
    if PREDICTIONS not in stage:
        raise DataError(f"no evaluation but a stage of {stage.noun}", where=path, remedy=_WANTED)
    first = bool(stage.identity.get("first_statement", False))
    return Judged(questions_of(stage), predictions_of(stage), first)


_WANTED = "give the folder of an evaluation, runs/evaluation/KEY"


def questions_of(stage: FinishedStage) -> tuple[Question, ...]:
    """The questions that were asked, in order."""
    return tuple(Question.from_row(row) for row in stage.rows(QUESTIONS))


def predictions_of(stage: FinishedStage) -> tuple[Prediction, ...]:
    """Every prediction, in the order of the questions."""
    return tuple(Prediction.from_row(row) for row in stage.rows(PREDICTIONS))
