"""What annotation gives: rationales, and the reason for every question without one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from cotdistill.rationales.faults import Reason
from cotdistill.records import Question, Rationale

DropReason = (
    Reason
    | Literal[
        "no_rationale",
        "empty_rationale",
        "filtered",
        "failed",
        "no_stated_answer",
        "disagrees",
        "in_evaluation",
        "over_budget",
        "high_rank_surprisal",
    ]
)
"""Why a question has no rationale. Filtered, failed: the teacher's server stopped it with its content filter, or
failed. Disagrees: the teacher stated an answer other than the gold one. Over budget: of words. A question that a
teacher did not answer has ``unanswered_`` and the engine's reason."""


REASONING = {
    "as_response": "kept beside the rationale",
    "as_rationale": "taken as the rationale",
    "drop": "left out",
    "none": "none",
}
"""What becomes of what a teacher thinks, in words."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A teacher has no rationale for this question, for this reason."""

    question: Question
    reason: str
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Dropped:
    """What was dropped: the question's id, the reason, the words that show it, and the rationale if there was one."""

    id: str
    reason: str
    evidence: str = ""
    rationale: str | None = None
    source: str | None = None

    def to_row(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Dropped:
        return cls(**row)

    @classmethod
    def of(cls, rationale: Rationale, reason: DropReason, evidence: str = "") -> Dropped:
        return cls(rationale.id, reason, evidence, rationale.rationale, rationale.meta.get("source"))


class Uses:
    """Counts of what became of teachers' reasoning and of compression, as :class:`Rationales` says."""

    def __init__(self, reasoning: Mapping[str, int] | None = None, compressed: Mapping[str, int] | None = None):
        self._reasoning, self._compressed = Counter(reasoning), Counter(compressed)

    @classmethod
    def of(cls, rationales: Iterable[Rationale]) -> Uses:
        uses = cls()
        for one in rationales:
            uses.add(one)
        return uses

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Uses:
        return cls(row.get("reasoning"), row.get("compressed"))

    def add(self, one: Rationale) -> None:
        self._reasoning[one.meta.get("reasoning", "none")] += 1
        if "compressed" in one.meta:
            self._compressed[one.meta["compressed"]] += 1

    @property
    def reasoning(self) -> dict[str, int]:
        return dict(sorted(self._reasoning.items())) if self._reasoning.keys() - {"none"} else {}

    @property
    def compressed(self) -> dict[str, int]:
        return dict(sorted(self._compressed.items()))

    def to_row(self) -> dict[str, dict[str, int]]:
        """Those that are not empty."""
        counts = {"reasoning": self.reasoning, "compressed": self.compressed}
        return {name: found for name, found in counts.items() if found}


@dataclass(frozen=True, slots=True)
class Rationales:
    """Rationales in the order of their questions; ``path`` is the stage folder that holds them, if one does.

    ``dropped`` counts what was dropped by reason; each is in ``left_out``. ``tokens`` are those of all prompts and
    completions that they came from, kept or not; ``uses`` are counted where they are None. What lies in a folder is
    read from there when it is asked for.
    """

    records: Sequence[Rationale]
    dropped: dict[str, int] = field(default_factory=dict)
    path: Path | None = None
    left_out: Sequence[Dropped] = ()
    tokens: tuple[int, int] = (0, 0)
    uses: Uses | None = field(default=None, compare=False)

    @property
    def reasoning(self) -> dict[str, int]:
        """What became of their teachers' reasoning, by ``teacher.reasoning``, and how many came with none; empty if
        none had any."""
        return self._uses.reasoning

    @property
    def compressed(self) -> dict[str, int]:
        """How many are shortened, and of those that are not, why, by ``annotation.compress``; empty without it."""
        return self._uses.compressed

    @property
    def _uses(self) -> Uses:
        return Uses.of(self.records) if self.uses is None else self.uses

    def __iter__(self) -> Iterator[Rationale]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)
