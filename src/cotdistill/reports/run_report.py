"""The finished run that a report is made from, and its machine-readable summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cotdistill.errors import DataError
from cotdistill.evaluation.statistics import ComparisonResult
from cotdistill.records import Score

BASE, TEACHER = "base", "teacher"
"""Arms of these names are points of reference rather than outcomes, and are drawn apart from the others."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm's score and whatever else is worth a column: ``seconds``, ``num_parameters``, ``training_tokens``, ..."""

    score: Score
    extras: Mapping[str, int | float | str | None] = field(default_factory=dict)

    def to_row(self) -> dict[str, Any]:
        row = self.score.to_row()
        assert not row.keys() & self.extras.keys(), "an extra would hide a part of the score"
        return row | dict(self.extras)


@dataclass(frozen=True, slots=True)
class RunReport:
    """A finished run: its question, its arms in order, the comparisons declared between them, its time in seconds.

    Raises DataError where there is no arm to report.
    """

    name: str
    question: str
    arms: Mapping[str, Arm]
    comparisons: Sequence[ComparisonResult] = ()
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if not self.arms:
            raise DataError("no arms to report", where=self.name, remedy="run at least one arm")
        assert {name for c in self.comparisons for name in (c.a, c.b)} <= self.arms.keys(), "comparison of unknown arm"

    def summary(self) -> dict[str, Any]:
        """The content of ``summary.json``; all accuracies, differences and intervals are fractions."""
        return {
            "name": self.name,
            "question": self.question,
            "arms": {name: arm.to_row() for name, arm in self.arms.items()},
            "comparisons": [comparison.to_row() for comparison in self.comparisons],
            "seconds": self.seconds,
        }
