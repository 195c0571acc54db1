"""What a report says about an arm besides its score: what it is made of, what it cost, how its training went."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cotdistill.annotation.annotate import RATIONALES
from cotdistill.config import CellConfig
from cotdistill.evaluation.read import QUESTIONS, questions_of
from cotdistill.evaluation.stored import outcomes_of
from cotdistill.records import Prediction, Question
from cotdistill.reports.evidence import Curve, Fact
from cotdistill.storage.finished import FinishedStage

MAX_POINTS = 300
"""Points of a learning curve that are kept; more show nothing at the size of a page."""


def factors_of(config: CellConfig) -> dict[str, Fact]:
    """What an arm is made of, in words: the settings that experiments vary, None if one does not apply."""
    training, annotation = config.training, config.annotation
    if training is None:
        return {"student": config.student.model}
    kind = config.teacher.kind
    writes = kind not in ("answer_only", "human")
    teacher = getattr(config.teacher, "teacher", None) or getattr(config.teacher, "model", None) or kind
    return {
        "student": config.student.model,
        "teacher": str(teacher),
        "granularity": annotation.granularity if writes else None,
        "format": annotation.format if writes else None,
        "keep": annotation.keep if kind != "answer_only" else None,
        "perturbation": annotation.perturbation.kind if annotation.perturbation else None,
        "loss": " + ".join(term.kind for term in training.loss),
        "signal": " + ".join(one.model.model for one in training.signals) or None,
    }


def mean_output_tokens(predictions: Sequence[Prediction]) -> float:
    outcomes = outcomes_of(predictions)
    return round(int(outcomes.num_output_tokens.sum()) / len(outcomes), 1)


def read_curve(training: FinishedStage) -> Curve | None:
    """The loss by step of a training, thinned to MAX_POINTS means; None if it took no step."""
    rows = list(training.rows("metrics.jsonl"))
    if not rows:
        return None
    size = -(-len(rows) // MAX_POINTS)
    bins = [rows[start : start + size] for start in range(0, len(rows), size)]
    terms = rows[0].get("terms") or {"loss": 0.0}
    return Curve(
        " + ".join(name.split("_", 1)[-1].replace("_", " ") for name in terms),
        [part[-1]["step"] for part in bins],
        [sum(row["loss"] for row in part) / len(part) for part in bins],
    )


class Readings:
    """Reads what evaluations and annotations hold; arms share them, so what is equal is read once."""

    def __init__(self) -> None:
        self._questions: dict[str, tuple[Question, ...]] = {}
        self._words: dict[str, tuple[int, float | None]] = {}

    def questions(self, evaluation: FinishedStage) -> tuple[Question, ...]:
        content = evaluation.checksum(QUESTIONS)
        if content not in self._questions:
            self._questions[content] = questions_of(evaluation)
        return self._questions[content]

    def words(self, annotation: FinishedStage) -> tuple[int, float | None]:
        """The number of rationales, and the mean number of words of those that are not empty; None if all are."""
        content = annotation.checksum(RATIONALES)
        if content not in self._words:
            self._words[content] = _words(row["rationale"] for row in annotation.rows(RATIONALES))
        return self._words[content]


def _words(rationales: Iterable[str | None]) -> tuple[int, float | None]:
    number = written = words = 0
    for rationale in rationales:
        number += 1
        if rationale:
            written += 1
            words += len(rationale.split())
    return number, round(words / written, 1) if written else None
