"""What annotation gives: rationales, and counts by reason of the questions that have none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cotdistill.records import Question, Rationale


@dataclass(frozen=True, slots=True)
class Missing:
    """A teacher has no rationale for this question, for this reason."""

    question: Question
    reason: str


@dataclass(frozen=True, slots=True)
class Rationales:
    """Rationales in the order of their questions; ``path`` is the stage folder that holds them, if one does."""

    records: tuple[Rationale, ...]
    dropped: dict[str, int] = field(default_factory=dict)
    path: Path | None = None

    def __iter__(self) -> Iterator[Rationale]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)
