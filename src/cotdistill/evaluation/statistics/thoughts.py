"""How much models think before they answer, and whether they come to an end."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from cotdistill.evaluation.stored import Answers, outcomes_of


@dataclass(frozen=True, slots=True)
class Thoughts:
    """Outputs that hold reasoning, the tokens of all of it with its marks, and the share of these outputs whose
    reasoning is ``closed`` before the answer."""

    outputs: int
    tokens: int
    closed: float

    def to_row(self) -> dict[str, Any]:
        return asdict(self)


def thoughts_of(answers: Answers) -> Thoughts | None:
    """None if nothing was thought, or a server does not say how much."""
    outcomes = outcomes_of(answers)
    tokens = outcomes.num_reasoning_tokens
    thinking = tokens > 0
    if not thinking.any() or (tokens < 0).any():
        return None
    outputs = int(outcomes.num_samples[thinking].sum())
    return Thoughts(outputs, int(tokens.sum()), 1 - int(outcomes.num_unclosed.sum()) / outputs)
