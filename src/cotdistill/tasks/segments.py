"""What a response consists of: texts in order, each with the region that a loss can see it by."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Region(IntEnum):
    """What a token belongs to; only regions after PROMPT carry loss. END is the stop token of an answer."""

    PROMPT = 0
    REASONING = 1
    RATIONALE = 2
    ANSWER = 3
    END = 4


REGIONS: dict[str, tuple[Region, ...]] = {
    "all": (Region.REASONING, Region.RATIONALE, Region.ANSWER, Region.END),
    "reasoning": (Region.REASONING,),
    "rationale": (Region.RATIONALE,),
    "answer": (Region.ANSWER, Region.END),
}
"""The regions of tokens that a loss term named in a config sees."""


class Segment(NamedTuple):
    """A stretch of a response. A ``mark`` is the template's own text, in which names of special tokens are tokens."""

    text: str
    region: Region
    mark: bool = False
