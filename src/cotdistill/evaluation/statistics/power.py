"""How many items, or how many seeds, show a difference: the power of the tests of comparisons. Loads no torch.

Only items on which the arms differ carry information. If a share ``discordant`` of items differs and the accuracies
differ by d, arm a alone is right on (discordant + d) / 2 of the items and b alone on (discordant - d) / 2. The number
of differing items is binomial, and given that number so is the number that a has gained: power is an exact sum over
both (Miettinen 1968; Duffy 1984).
"""

from __future__ import annotations

import math

from cotdistill.errors import ConfigError
from cotdistill.evaluation.statistics.seeds import ALPHA, MAX_SEEDS, WANTED, Variance

__all__ = ["items_needed", "power", "seeds_needed"]

MAX_ITEMS = 1_000_000


def power(difference: float, discordant: float, num_items: int, *, alpha: float = ALPHA) -> float:
    """The probability that McNemar's exact two-sided test finds p < ``alpha``.

    ``difference`` of the accuracies and ``discordant``, the share of items on which exactly one arm is right, are
    fractions. Raises ConfigError if the difference exceeds that share, or either is not a fraction.
    """
    import numpy as np
    from scipy.stats import binom

    _check(difference, discordant)
    if discordant == 0:
        return 0.0
    gained = (discordant + abs(difference)) / (2 * discordant)
    spread = 8 * math.sqrt(num_items * discordant * (1 - discordant)) + 8  # beyond it there is less than 1e-14
    low = max(0, math.floor(num_items * discordant - spread))
    counts = np.arange(low, min(num_items, math.ceil(num_items * discordant + spread)) + 1)
    tail = binom.ppf(alpha / 2, counts, 0.5)
    # The largest number of losses that is significant; ppf gives the first whose tail reaches alpha / 2.
    tail = np.where(2 * binom.cdf(tail, counts, 0.5) < alpha, tail, tail - 1)
    found = binom.cdf(tail, counts, 1 - gained) + binom.cdf(tail, counts, gained)
    return float(np.sum(binom.pmf(counts, num_items, discordant) * found))


def items_needed(difference: float, discordant: float, *, wanted: float = WANTED, alpha: float = ALPHA) -> int:
    """The number of items from which :func:`power` is ``wanted``, to within the steps of a discrete test.

    Raises ConfigError for a difference of 0, and if more than a million items would be needed.
    """
    _check(difference, discordant)
    if difference == 0:
        raise ConfigError("no number of items can show a difference of 0", remedy="name the smallest one that matters")
    low, high = 1, 8
    while power(difference, discordant, high, alpha=alpha) < wanted:
        low, high = high, 2 * high
        if high > MAX_ITEMS:
            raise ConfigError(
                f"more than {MAX_ITEMS:,} items are needed to show {100 * difference:g} points",
                remedy="look for a larger difference",
            )
    while high - low > 1:
        middle = (low + high) // 2
        reached = power(difference, discordant, middle, alpha=alpha) >= wanted
        low, high = (low, middle) if reached else (middle, high)
    return high


def seeds_needed(difference: float, spread: float, *, wanted: float = WANTED, alpha: float = ALPHA) -> int:
    """How many training seeds per arm show ``difference`` with power ``wanted``, given unlimited items.

    ``spread`` is the standard deviation of an arm's accuracy between seeds, the same in both arms and in the unit of
    ``difference``; the test is Welch's. ``ComparisonResult.seeds_needed`` says how many it takes on given items. Raises
    ConfigError for a difference or a spread of 0, and if more than 1,000 seeds would be needed.
    """
    if not difference or spread <= 0:
        raise ConfigError(
            f"a difference of {difference} with a spread of {spread} needs no seeds or infinitely many",
            remedy="give a difference other than 0 and a spread above 0",
        )
    variance = Variance(2 * spread**2, 0.0, 0.0, 2.0, math.inf)
    if found := variance.seeds_needed(difference, wanted=wanted, alpha=alpha):
        return found
    problem = f"more than {MAX_SEEDS:,} seeds are needed to show {difference}"
    raise ConfigError(problem, remedy="look for a larger difference")


def _check(difference: float, discordant: float) -> None:
    if not (abs(difference) <= discordant <= 1):
        raise ConfigError(
            f"accuracies cannot differ by {100 * difference:g} points if {100 * discordant:g} % of the items differ",
            remedy="give a difference up to that share, and a share up to 100 %",
        )
