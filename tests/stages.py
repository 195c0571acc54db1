"""Finished stages that no command made."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cotdistill.evaluation.read import QUESTIONS
from cotdistill.evaluation.stored import write_predictions
from cotdistill.records import Prediction, Question
from cotdistill.storage.jsonl import write_rows
from cotdistill.storage.stages import Stage


def finished_evaluation(folder: Path, questions: Iterable[Question], predictions: Iterable[Prediction]) -> Path:
    """``folder``, with a finished evaluation in it."""
    write_rows(folder / QUESTIONS, (question.to_row() for question in questions))
    write_predictions(folder, list(predictions))
    Stage("evaluation", folder, {}).finish({}, seeds={}, dropped={})
    return folder


def alter_a_byte(file: Path, place: int = 40) -> None:
    """What a bad disk or a hand does to a file: its size stays as it is."""
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)
