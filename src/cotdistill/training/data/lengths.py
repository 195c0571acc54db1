"""How long examples are, and what becomes of those that are too long. Loads no torch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from cotdistill.config import ModelConfig, TrainingConfig
from cotdistill.models.load.positions import stated_positions
from cotdistill.rationales.lengths import WARN_ABOVE, histogram

LONGEST = 32_768
"""Tokens of the longest example where neither ``training.max_length`` nor the models set a limit."""

Fate = Literal["whole", "cut", "too_long"]
"""What becomes of an example: it is trained on as it is, with its reasoning cut, or not at all."""


def length_limit(student: ModelConfig, config: TrainingConfig) -> int:
    """Tokens of prompt and response together: ``max_length``, by default as many as the student and the models of its
    signal have positions for, and at most ``LONGEST``.

    Raises ModelError for a model that cannot be found.
    """
    if config.max_length is not None:
        return config.max_length
    models = [student, *(signal.model for signal in config.signals)]
    return min([LONGEST, *filter(None, map(stated_positions, models))])


@dataclass(slots=True)
class Lengths:
    """Examples by what becomes of them, with their tokens as they were before any cut.

    ``limit`` is for prompt and response together, and ``models_own`` says that no setting lowers it; ``reasoning`` are
    the tokens of rationales alone. ``sampled`` is the number of rationales that this is estimated from; None where all
    are counted.
    """

    limit: int
    models_own: bool = False
    fates: Counter[Fate] = field(default_factory=Counter[Fate])
    tokens: list[int] = field(default_factory=list)
    reasoning: list[int] = field(default_factory=list)
    sampled: int | None = None

    @classmethod
    def of(cls, student: ModelConfig, config: TrainingConfig, *, sampled: int | None = None) -> Lengths:
        """None yet, for this training. Raises ModelError for a model that cannot be found."""
        return cls(length_limit(student, config), config.max_length is None, sampled=sampled)

    def add(self, tokens: int, reasoning: int, fate: Fate) -> None:
        self.tokens.append(tokens)
        self.reasoning.append(reasoning)
        self.fates[fate] += 1

    @property
    def dropped(self) -> dict[str, int]:
        """Counts by reason of the examples that are not trained on."""
        return {"too_long": self.fates["too_long"]} if self.fates["too_long"] else {}

    @property
    def too_long(self) -> float:
        """The share of examples that are not trained on; 0 if there are none."""
        return self.fates["too_long"] / len(self.tokens) if self.tokens else 0.0

    def to_row(self) -> dict[str, Any]:
        return {
            "limit": self.limit,
            "longest": max(self.tokens, default=0),
            **{fate: self.fates[fate] for fate in ("whole", "cut", "too_long")},
            "tokens": histogram(self.tokens),
            "reasoning": histogram(self.reasoning),
            **({} if self.sampled is None else {"sampled": self.sampled}),
        }

    def line(self) -> str | None:
        """What is cut and left out, in words, as a warning above ``WARN_ABOVE``; None if all are trained on whole."""
        cut, left_out = self.fates["cut"], self.fates["too_long"]
        if not cut and not left_out:
            return None
        about = "" if self.sampled is None else "about "
        parts = []
        if left_out:
            parts.append(f"{about}{_of(left_out, len(self.tokens), self.sampled)} are too long to train on")
        if cut:
            parts.append(f"{about}{_of(cut, len(self.tokens), self.sampled)} are trained on with their reasoning cut")
        said = f"{' and '.join(parts)} (the limit is {self.limit:,} tokens, the longest has {max(self.tokens):,})"
        if self.too_long <= WARN_ABOVE:
            return said
        remedy = "take a student with more positions" if self.models_own else "raise training.max_length"
        return f"warning: {said}; {remedy}{'' if cut else ', or set training.too_long: cut_reasoning'}"


def _of(count: int, total: int, sampled: int | None) -> str:
    share = f"{100 * count / total:.0f} %"
    return (
        f"{share} of the examples ({count} of {total} sampled)" if sampled else f"{count} of {total} examples ({share})"
    )
