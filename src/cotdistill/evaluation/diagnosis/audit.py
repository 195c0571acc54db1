"""The audit of an evaluation: every extractor's score on the same outputs, and the items on which they disagree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cotdistill.errors import DataError, printable
from cotdistill.evaluation.diagnosis.extractors import EXTRACTORS
from cotdistill.evaluation.read import read_evaluation
from cotdistill.records import Prediction, Question
from cotdistill.tasks.answers.reading import extract_answer

SHOWN = 240
"""How many characters of an output's end the audit shows."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """An item that some extractors call right and others wrong.

    ``extracted`` and ``correct`` are by extractor; ``output`` is the end of what the model wrote.
    """

    id: str
    task: str
    answer: str
    extracted: dict[str, str | None]
    correct: dict[str, bool]
    output: str


@dataclass(frozen=True, slots=True)
class Audit:
    """Accuracy and number of outputs without an answer, by extractor, over ``n`` items, and the disagreements."""

    n: int
    accuracy: dict[str, float]
    unreadable: dict[str, int]
    disagreements: tuple[Disagreement, ...]

    def to_row(self) -> dict[str, Any]:
        return asdict(self)


def audit(questions: Iterable[Question], predictions: Sequence[Prediction], *, first_statement: bool = False) -> Audit:
    """Read every output with every extractor; ``first_statement`` if the answer was asked for before its rationale.

    Raises DataError for a prediction without its question, and for no predictions.
    """
    if not predictions:
        raise DataError("there are no predictions to audit", remedy="run cotdistill evaluate first")
    asked = {(question.task, question.id): question for question in questions}
    unreadable = dict.fromkeys(EXTRACTORS, 0)
    num_correct = dict.fromkeys(EXTRACTORS, 0)
    disagreements = []
    for prediction in predictions:
        question = asked.get((prediction.task, prediction.id))
        if question is None:
            raise DataError(
                f"the question {prediction.id!r} of task {prediction.task} is missing", remedy="evaluate again"
            )
        extracted = {name: extractor.extract(prediction.output, question) for name, extractor in EXTRACTORS.items()}
        if first_statement:
            extracted["statement"] = extract_answer(
                prediction.output, question.answer_type, question.choices, first=True
            )
        correct = {name: answer is not None and EXTRACTORS[name].same(answer, question)
                   for name, answer in extracted.items()}  # fmt: skip
        for name, answer in extracted.items():
            unreadable[name] += answer is None
            num_correct[name] += correct[name]
        if len(set(correct.values())) > 1:
            end = prediction.output[-SHOWN:]
            disagreements.append(Disagreement(prediction.id, prediction.task, question.answer, extracted, correct, end))
    n = len(predictions)
    accuracy = {name: count / n for name, count in num_correct.items()}
    return Audit(n, accuracy, unreadable, tuple(disagreements))


def audit_path(path: Path) -> Audit:
    """The audit of an evaluation's folder. Raises as :func:`read_evaluation` does."""
    found = read_evaluation(path)
    return audit(found.questions, found.predictions, first_statement=found.first_statement)


def audit_lines(result: Audit, limit: int) -> list[str]:
    """The audit as text: a line per extractor, and the first ``limit`` disagreements with what each extractor read."""
    lines = [f"{result.n} items; extractors disagree on {len(result.disagreements)}", ""]
    for name, extractor in EXTRACTORS.items():
        numbers = f"{100 * result.accuracy[name]:6.2f} %  unreadable {result.unreadable[name]:5d}"
        lines.append(f"{name:10} {numbers}  {extractor.meaning}")
    for item in result.disagreements[:limit]:
        lines += ["", f"{item.task} {item.id}, gold answer {item.answer}: ...{printable(item.output[-SHOWN:])}"]
        lines += [
            f"  {name:10} {'right' if item.correct[name] else 'wrong':6} {printable(str(answer))}"
            for name, answer in item.extracted.items()
        ]
    return lines
