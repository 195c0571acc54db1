"""What a report says about an arm besides its score: what it is made of, what it cost, how its training went."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

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
        "signal": training.signal.model.model if training.signal else None,
    }


def mean_words(rationales: Iterable[str | None]) -> float | None:
    """The mean number of words per rationale; None if there are no rationales."""
    counts = [len(rationale.split()) for rationale in rationales if rationale]
    return round(sum(counts) / len(counts), 1) if counts else None


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


QuestionsReader = Callable[[FinishedStage], tuple[Question, ...]]


def questions_reader() -> QuestionsReader:
    """Reads the questions of evaluations; arms share them, so what is equal is kept once."""
    read: dict[str, tuple[Question, ...]] = {}

    def questions(evaluation: FinishedStage) -> tuple[Question, ...]:
        content = evaluation.checksum(QUESTIONS)
        if content not in read:
            read[content] = questions_of(evaluation)
        return read[content]

    return questions
