"""The granularities of rationales, from coarse to fine: what each of them shows, and how long it is.

The levels are those of the granularity paper (arXiv 2502.18001). Lengths are ours, for a problem of two or three steps.
"""

from __future__ import annotations

from typing import NamedTuple


class Range(NamedTuple):
    """From ``fewest`` to ``most``, both included."""

    fewest: int
    most: int

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and self.fewest <= number <= self.most

    def __str__(self) -> str:
        return f"{self.fewest}-{self.most}"


class Granularity(NamedTuple):
    """Each shows what the one before it shows, and adds ``adds`` to it; only the sketch gives way to the steps."""

    adds: str
    words: Range
    steps: Range


GRANULARITIES = {
    1: Granularity("the conclusion", Range(2, 25), Range(1, 2)),
    2: Granularity("a sketch of the way there", Range(5, 45), Range(1, 3)),
    3: Granularity("the start and the state after each step", Range(10, 70), Range(2, 8)),
    4: Granularity("how each result comes about", Range(15, 110), Range(2, 10)),
    5: Granularity("the plan, and the reason for each step", Range(30, 160), Range(4, 15)),
    6: Granularity("the question restated, what each step starts from, and checks", Range(50, 320), Range(7, 30)),
}
COARSEST, FINEST = min(GRANULARITIES), max(GRANULARITIES)
