"""What is held out of a training: which questions, and what a process must know to check a student on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cotdistill.config import EvaluationConfig, TrainingConfig, Validation, identity
from cotdistill.errors import ConfigError, DataError
from cotdistill.records import Question, Rationale
from cotdistill.storage.hashes import content_key_of
from cotdistill.tasks.held_out import is_held_out, lot
from cotdistill.tasks.prompts import Target, lessons_of

_PURPOSE = "validation "


def held_out(questions: Iterable[Question], share: float) -> list[Question]:
    """Those that a ``share`` holds out, each text as a whole, whoever else is asked."""
    return [question for question in questions if is_held_out(question.asked, share, _PURPOSE)]


def drawn(questions: Iterable[Question], number: int) -> tuple[Question, ...]:
    """At most ``number`` of them, by lot: the same ones in whatever order they come."""
    different = {(question.task, question.id): question for question in questions}.values()
    return tuple(sorted(different, key=lambda question: (lot(question.asked, _PURPOSE), question.id))[:number])


def asking(evaluation: EvaluationConfig) -> EvaluationConfig:
    """The test's settings as validation asks: once, greedily, in this process, with the prompt of the training."""
    kept = ("max_new_tokens", "max_reasoning_tokens", "stop", "max_batch_size", "reader")
    return EvaluationConfig(**{name: getattr(evaluation, name) for name in kept})


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The ``questions`` that validation may ask, and the rationales of a validation file (a share has the training's);
    ``evaluation`` is how the student will be tested."""

    questions: Sequence[Question]
    rationales: Sequence[Rationale] = ()
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def asked(self, config: Validation) -> tuple[Question, ...]:
        return drawn(self.questions, config.questions)

    def identity(self, config: Validation) -> dict[str, Any]:
        """All that it can change in what a training makes."""
        asked = self.asked(config)
        return {
            "questions": content_key_of(question.to_row() for question in asked),
            "rationales": content_key_of(rationale.to_row() for rationale in self.rationales),
            "asking": identity(asking(self.evaluation)) if asked else None,
        }


def held_out_of(rationales: Sequence[Rationale], config: TrainingConfig, given: HeldOut | None) -> HeldOut | None:
    """What a training holds out: what is ``given``, else the held-out questions that have a rationale.

    Raises ConfigError for a file that nobody has read, DataError for a share that holds out nothing or everything.
    """
    validation = config.validation
    if validation is None:
        return None
    if validation.share is None:
        if given is None:
            remedy = "run an experiment file, or give a share"
            raise ConfigError("nothing has read the file", where="training.validation.data", remedy=remedy)
        return given
    chosen = held_out((rationale.question for rationale in rationales), validation.share)
    if not 0 < len(chosen) < len(rationales):
        problem = f"{validation.share:g} of {len(rationales)} rationales holds out {len(chosen)}"
        raise DataError(problem, where="training.validation.share", remedy="choose another share, or give a file")
    return given or HeldOut(chosen)


def rationales_of_file(rationales: Iterable[Rationale], target: Target) -> list[Rationale]:
    """The rationales of a validation file as the student is taught: answers alone, or those that there are."""
    if target == "answer":
        return [replace(rationale, rationale=None, reasoning=None) for rationale in rationales]
    return [rationale for rationale in rationales if rationale.rationale or rationale.reasoning]


def ids_of(rationales: Iterable[Rationale], config: TrainingConfig, share: float) -> frozenset[str]:
    """The ids of the examples whose questions are held out, all of a conversation's turns among them."""
    chosen = (rationale for rationale in rationales if is_held_out(rationale.question.asked, share, _PURPOSE))
    return frozenset(rationale.id for rationale, _ in lessons_of(chosen, config.target, config.loss_turns))


@dataclass(frozen=True, slots=True)
class Checks:
    """What a process that trains needs to know: the examples that are held out, by the ids of those that they are among
    or by the folder of their own ``tokens``, and what is asked, of ``num_questions`` that are held out."""

    questions: tuple[Question, ...]
    target: Target
    asking: EvaluationConfig
    ids: frozenset[str]
    num_questions: int
    tokens: Path | None = None

    def to_row(self) -> dict[str, Any]:
        return {
            "questions": [question.to_row() for question in self.questions],
            "target": self.target,
            "asking": self.asking.model_dump(mode="json"),
            "ids": sorted(self.ids),
            "num_questions": self.num_questions,
            "tokens": str(self.tokens.resolve()) if self.tokens else None,
        }

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Checks:
        return cls(
            tuple(map(Question.from_row, row["questions"])),
            row["target"],
            EvaluationConfig.model_validate(row["asking"]),
            frozenset(row["ids"]),
            row["num_questions"],
            Path(row["tokens"]) if row["tokens"] else None,
        )
