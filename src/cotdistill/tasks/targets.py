"""The invariant of training targets: a student that writes its target to the letter is judged correct."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cotdistill.config import TrainingTarget
from cotdistill.errors import DataError
from cotdistill.records import Rationale, Verdict
from cotdistill.tasks.answers.reading import judge
from cotdistill.tasks.prompts import Target, asked_of, response_text

MAX_MISJUDGED = 0.05
"""The largest share of training rows that may be judged as anything but correct."""

MAX_SHOWN = 3
"""Rows that are named in one line."""


class Misjudged(NamedTuple):
    """A training row whose target, written to the letter, is not judged correct; ``read`` is how it is read."""

    id: str
    answer: str
    read: str | None
    verdict: Verdict
    target: str

    def __str__(self) -> str:
        read = "no answer is read" if self.read is None else f"{self.read!r} is read"
        return f"{self.id} (answer {self.answer!r}): {read} in {self.target[-80:]!r}"


def misjudged(rationales: Iterable[Rationale], target: TrainingTarget = "rationale_then_answer") -> list[Misjudged]:
    """The rows that break the invariant; prompts that ask for no answer ("explain") are not judged."""
    found = (_misjudged(rationale, asked_of(rationale, target)[0]) for rationale in rationales)
    return [row for row in found if row is not None]


def _misjudged(rationale: Rationale, target: Target) -> Misjudged | None:
    question, written = rationale.question, response_text(rationale, target)
    read, verdict = judge(written, question, finished=True, first=target == "answer_then_rationale")
    return None if verdict == "correct" else Misjudged(question.id, question.answer, read, verdict, written)


def refuse_misjudged(
    rationales: Sequence[Rationale], target: TrainingTarget, *, where: str, remedy: str = "fix these rows"
) -> str | None:
    """One line on the rows that break the invariant, or None if there are none.

    Raises DataError if their share is above ``MAX_MISJUDGED``: such a student is scored on what it is not taught.
    """
    found = misjudged(rationales, target)
    if not found:
        return None
    shown = "; ".join(map(str, found[:MAX_SHOWN]))
    problem = f"{len(found)} of {len(rationales)} training targets are not judged correct, such as {shown}"
    if len(found) > MAX_MISJUDGED * len(rationales):
        raise DataError(problem, where=where, remedy=remedy)
    return problem
