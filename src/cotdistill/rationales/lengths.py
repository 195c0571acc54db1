"""How lengths are counted for people: histograms, and the share of what is left out that deserves a warning."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

WARN_ABOVE = 0.05
"""The share of what is not trained on above which a warning is given."""


def histogram(lengths: Iterable[int]) -> dict[str, int]:
    """How many lengths there are from each lower bound up to the next one; bounds are powers of the square root of 2,
    rounded down."""
    counts = Counter(map(lower_bound, lengths))
    return {str(bound): counts[bound] for bound in sorted(counts)}


def bounds(lowest: int, highest: int) -> list[int]:
    """The bounds of a histogram from ``lowest`` up to the one after ``highest``, which are bounds."""
    found = [lowest]
    while found[-1] <= highest:
        power = 1
        while (bound := math.isqrt(2**power)) <= found[-1]:
            power += 1
        found.append(bound)
    return found


def lower_bound(length: int) -> int:
    """The largest bound of :func:`histogram` that is not above ``length``."""
    if length < 2:
        return max(0, length)
    half_octave = math.floor(2 * math.log2(length)) + 1
    return next(found for power in (half_octave, half_octave - 1) if (found := math.isqrt(2**power)) <= length)
