"""How long rationales are, in steps and words, and how long a granularity should be."""

from __future__ import annotations

import re
from typing import NamedTuple

from cotdistill.records import Rationale

_STEP_END = re.compile(r"(?<=[.!?])\s+|\n+")
_LETTER_OR_DIGIT = re.compile(r"\w")
_LIST_NUMBER = re.compile(r"(?:step\s*)?\(?\d+[.):]", re.IGNORECASE)


class Range(NamedTuple):
    """From ``fewest`` to ``most``, both included."""

    fewest: int
    most: int

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and self.fewest <= number <= self.most


class Band(NamedTuple):
    """Between how many words and steps a rationale of a granularity lies, for a problem of two or three steps."""

    words: Range
    steps: Range


BANDS = {
    1: Band(Range(2, 25), Range(1, 2)),
    2: Band(Range(5, 45), Range(1, 3)),
    3: Band(Range(10, 70), Range(2, 8)),
    4: Band(Range(15, 110), Range(2, 10)),
    5: Band(Range(30, 160), Range(4, 15)),
    6: Band(Range(50, 320), Range(7, 30)),
}


def num_words(text: str) -> int:
    return len(text.split())


def num_steps(text: str) -> int:
    """Sentences and lines; the number in front of a step ("2.", "Step 2:") is none of its own."""
    parts = (part.strip() for part in _STEP_END.split(text))
    return sum(1 for part in parts if _LETTER_OR_DIGIT.search(part) and not _LIST_NUMBER.fullmatch(part))


def in_band(rationale: Rationale) -> bool | None:
    """Whether a rationale is as long as its granularity asks for; None where there is no rationale or granularity."""
    if rationale.rationale is None or rationale.granularity is None:
        return None
    band = BANDS[rationale.granularity]
    return num_words(rationale.rationale) in band.words and num_steps(rationale.rationale) in band.steps
