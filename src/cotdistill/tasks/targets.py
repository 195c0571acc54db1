"""The invariant of training targets: a student that writes its target to the letter is judged correct."""

from __future__ import annotations

from collections.abc import Iterable
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
    rationales: Iterable[Rationale], target: TrainingTarget, *, where: str, remedy: str = "fix these rows"
) -> str | None:
    """One line on the rows that break the invariant, or None if there are none.

    Raises DataError if their share is above ``MAX_MISJUDGED``: such a student is scored on what it is not taught.
    """
    targets = Targets(target)
    for rationale in rationales:
        targets.judge(rationale)
    return targets.refuse(where=where, remedy=remedy)


class Targets:
    """Judges the rows of a training one by one; what :func:`refuse_misjudged` says of all of them can then be asked."""

    def __init__(self, target: TrainingTarget):
        self.target: TrainingTarget = target
        self._shown: list[Misjudged] = []
        self._num_misjudged = self._num_rows = 0

    def judge(self, rationale: Rationale) -> None:
        self._num_rows += 1
        for row in misjudged([rationale], self.target):
            self._num_misjudged += 1
            if len(self._shown) < MAX_SHOWN:
                self._shown.append(row)

    def refuse(self, *, where: str, remedy: str = "fix these rows") -> str | None:
        """See :func:`refuse_misjudged`."""
        if not self._num_misjudged:
            return None
        shown = "; ".join(map(str, self._shown))
        problem = f"{self._num_misjudged} of {self._num_rows} training targets are not judged correct, such as {shown}"
        if self._num_misjudged > MAX_MISJUDGED * self._num_rows:
            raise DataError(problem, where=where, remedy=remedy)
        return problem
