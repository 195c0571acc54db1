"""Reading finished evaluations: an evaluation's folder, or that of lm-eval's tasks. Loads no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cotdistill.errors import DataError
from cotdistill.evaluation.stored import OUTCOMES, PREDICTIONS, StoredPredictions
from cotdistill.records import Prediction, Question
from cotdistill.storage.finished import FinishedStage, is_finished, open_finished

QUESTIONS = "questions.jsonl"


@dataclass(frozen=True, slots=True)
class Judged:
    """What an evaluation holds: its questions and predictions, in the same order.

    ``first_statement`` is True if the answer was asked for before its rationale and judged by the first statement.
    """

    questions: tuple[Question, ...]
    predictions: Sequence[Prediction]
    first_statement: bool


def read_evaluation(path: Path) -> Judged:
    """The evaluation in the folder ``path``.

    Raises DataError for a folder that is not an evaluation or not a finished one, ArtifactError for a file that was
    changed.
    """
    if not is_finished(path):
        begun = (path / QUESTIONS).is_file()  # those with the longest prompts come first: what is done is no fair part
        problem = "this evaluation is not finished" if begun else "this is not an evaluation"
        goes_on = "run the command that began it again"
        raise DataError(problem, where=path, remedy=goes_on if begun else _WANTED)
    stage = open_finished(path)
    if PREDICTIONS not in stage:
        raise DataError(f"this is a stage of {stage.noun}, not an evaluation", where=path, remedy=_WANTED)
    first = bool(stage.identity.get("first_statement", False))
    stage.file(OUTCOMES)
    return Judged(questions_of(stage), StoredPredictions(stage), first)


_WANTED = "give the folder of an evaluation, runs/evaluation/KEY"


def questions_of(stage: FinishedStage) -> tuple[Question, ...]:
    """The questions that were asked, in order."""
    return tuple(Question.from_row(row) for row in stage.rows(QUESTIONS))
