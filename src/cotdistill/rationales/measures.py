"""How long rationales are, in steps and words, and whether that fits their granularity."""

from __future__ import annotations

import re

from cotdistill.granularities import GRANULARITIES
from cotdistill.records import Rationale

_STEP_END = re.compile(r"(?<=[.!?])\s+|\n+")
_LETTER_OR_DIGIT = re.compile(r"\w")
_LIST_NUMBER = re.compile(r"(?:step\s*)?\(?\d+[.):]", re.IGNORECASE)


def num_words(text: str) -> int:
    return len(text.split())


def num_steps(text: str) -> int:
    """Sentences and lines; the number before a step ("2.", "Step 2:") does not count as one."""
    parts = (part.strip() for part in _STEP_END.split(text))
    return sum(1 for part in parts if _LETTER_OR_DIGIT.search(part) and not _LIST_NUMBER.fullmatch(part))


def in_band(rationale: Rationale) -> bool | None:
    """Whether a rationale is as long as its granularity asks for; None if there is no rationale or granularity."""
    if rationale.rationale is None or rationale.granularity is None:
        return None
    level = GRANULARITIES[rationale.granularity]
    return num_words(rationale.rationale) in level.words and num_steps(rationale.rationale) in level.steps
