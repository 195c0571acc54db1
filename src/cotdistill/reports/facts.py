"""What a report says about an arm besides its score: what it is made of, what it cost, how its training went."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cotdistill.annotation.annotate import RATIONALES
from cotdistill.config import CellConfig
from cotdistill.config.base import Settings, identity
from cotdistill.evaluation.read import QUESTIONS, questions_of
from cotdistill.evaluation.stored import outcomes_of
from cotdistill.records import Prediction, Question
from cotdistill.reports.evidence import Curve, Example, Fact
from cotdistill.storage.finished import FinishedStage, open_finished

MAX_EXAMPLES = 3
"""Rationales of an annotation that are shown."""

MAX_POINTS = 300
"""Points of a learning curve that are kept; more show nothing at the size of a page."""


def factors_of(config: CellConfig) -> dict[str, Fact]:
    """What an arm is made of, in words: the settings that experiments vary, None if one does not apply."""
    training, annotation = config.training, config.annotation
    if training is None:
        return {"student": config.student.model}
    kind = config.teacher.kind
    writes = kind not in ("answer_only", "human")
    return {
        "student": config.student.model,
        "teacher": teacher_name(config),
        "granularity": annotation.granularity if writes else None,
        "format": annotation.format if writes else None,
        "keep": annotation.keep if kind != "answer_only" else None,
        "perturbation": annotation.perturbation.kind if annotation.perturbation else None,
        "loss": " + ".join(term.kind for term in training.loss),
        "signal": " + ".join(one.model.model for one in training.signals) or None,
    }


def teacher_name(config: CellConfig) -> str:
    """Who wrote the rationales: a model, a release, or a kind of teacher."""
    teacher = config.teacher
    return str(getattr(teacher, "teacher", None) or getattr(teacher, "model", None) or teacher.kind)


def settings_of(section: Settings) -> dict[str, Fact]:
    """What is not at its default in a section, by dotted key; lists as JSON."""
    return dict(_flat(identity(section)))


def _flat(row: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Fact]]:
    for key, value in row.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value if isinstance(value, int | float | str | None) else json.dumps(value)


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
    """Reads what stages hold; arms share them, so what is equal is read once."""

    def __init__(self) -> None:
        self.stages: dict[Path, FinishedStage] = {}
        self._questions: dict[str, tuple[Question, ...]] = {}
        self._taught: dict[str, Taught] = {}

    def stage(self, folder: Path) -> FinishedStage:
        if folder not in self.stages:
            self.stages[folder] = open_finished(folder)
        return self.stages[folder]

    def questions(self, evaluation: FinishedStage) -> tuple[Question, ...]:
        content = evaluation.checksum(QUESTIONS)
        if content not in self._questions:
            self._questions[content] = questions_of(evaluation)
        return self._questions[content]

    def taught(self, annotation: FinishedStage) -> Taught:
        content = annotation.checksum(RATIONALES)
        if content not in self._taught:
            self._taught[content] = _taught(annotation)
        return self._taught[content]


@dataclass(frozen=True, slots=True)
class Taught:
    """How many rationales an annotation holds, the mean number of words of those that are not empty (None if all are),
    and a few of them."""

    number: int
    words: float | None
    examples: tuple[Example, ...]


def _taught(annotation: FinishedStage) -> Taught:
    number = written = words = 0
    examples = []
    for row in annotation.rows(RATIONALES):
        number += 1
        if rationale := row["rationale"]:
            written += 1
            words += len(rationale.split())
        if number <= MAX_EXAMPLES:
            examples.append(Example(row["question"], row["rationale"], row["answer"]))
    return Taught(number, round(words / written, 1) if written else None, tuple(examples))
