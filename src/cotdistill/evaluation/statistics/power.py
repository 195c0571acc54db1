"""How many items, or how many seeds, show a difference: the power of McNemar's exact test. Loads no torch.

Only items on which the arms differ carry information. If a share ``discordant`` of items differs and the accuracies
differ by d, arm a alone is right on (discordant + d) / 2 of the items and b alone on (discordant - d) / 2. The number
of differing items is binomial, and given that number so is the number that a has gained: power is an exact sum over
both (Miettinen 1968; Duffy 1984).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cotdistill.errors import ConfigError
from cotdistill.records import Prediction

__all__ = ["compare_over_tasks", "items_needed", "power", "seeds_needed"]

ALPHA = 0.05
MAX_ITEMS = 1_000_000


def power(difference: float, discordant: float, num_items: int, *, alpha: float = ALPHA) -> float:
    """The probability that McNemar's exact two-sided test finds p < ``alpha``.

    ``difference`` of the accuracies and ``discordant``, the share of items on which exactly one arm is right, are
    fractions. Raises ConfigError where the difference exceeds that share, or either is no fraction.
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


def items_needed(difference: float, discordant: float, *, wanted: float = 0.8, alpha: float = ALPHA) -> int:
    """The number of items from which :func:`power` is ``wanted``, to within the steps of a discrete test.

    Raises ConfigError for a difference of 0, and where more than a million items would be needed.
    """
    _check(difference, discordant)
    if difference == 0:
        raise ConfigError("no number of items shows a difference of 0", remedy="name the smallest one that matters")
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


def seeds_needed(difference: float, spread: float, *, wanted: float = 0.8, alpha: float = ALPHA) -> int:
    """How many training seeds an arm needs for a paired t-test over seeds to show ``difference`` with power ``wanted``.

    ``spread`` is the standard deviation between seeds of the difference in accuracy, both in the same unit.
    """
    from scipy.stats import nct, t

    if not difference or spread <= 0:
        raise ConfigError(
            f"a difference of {difference} with a spread of {spread} needs no seeds or infinitely many",
            remedy="give a difference other than 0 and a spread above 0",
        )
    for seeds in range(2, 10_000):
        critical = t.ppf(1 - alpha / 2, seeds - 1)
        shift = abs(difference) / spread * math.sqrt(seeds)
        if nct.sf(critical, seeds - 1, shift) + nct.cdf(-critical, seeds - 1, shift) >= wanted:
            return seeds
    raise ConfigError(f"more than 10,000 seeds are needed to show {difference}", remedy="look for a larger difference")


@dataclass(frozen=True, slots=True)
class DifferenceOverTasks:
    """The mean of the tasks' differences in accuracy, and a 95 % interval for tasks and items drawn anew.

    All are fractions.
    """

    difference: float
    interval: tuple[float, float]
    num_tasks: int
    num_items: int
    num_seeds: int


def compare_over_tasks(
    pairs: Sequence[tuple[Sequence[Prediction], Sequence[Prediction]]], *, num_resamples: int = 10_000, seed: int = 0
) -> DifferenceOverTasks:
    """Arm a against arm b, macro-averaged over tasks, with a two-stage bootstrap: tasks, and items within each task.

    ``pairs`` holds one (a, b) a training seed. An item keeps its outcomes under all seeds, and an interval says what
    other tasks of the kind and other items would give, for these students. With one task only items are drawn.
    Raises DataError as ``statistics.compare`` does.
    """
    import numpy as np

    from cotdistill.evaluation.statistics.comparisons import joined_outcomes

    outcomes_a, outcomes_b = joined_outcomes(pairs, ("a", "b"))
    changes = (outcomes_a - outcomes_b).mean(axis=0)
    tasks: dict[str, list[int]] = {}
    for index, prediction in enumerate(pairs[0][0]):
        tasks.setdefault(prediction.task, []).append(index)
    draws = np.random.default_rng(seed)
    means = np.empty((num_resamples, len(tasks)))
    for column, members in enumerate(tasks.values()):
        values, counts = np.unique(changes[members], return_counts=True)
        drawn = draws.multinomial(len(members), counts / len(members), size=num_resamples)
        means[:, column] = drawn @ values / len(members)
    chosen = draws.integers(len(tasks), size=means.shape)
    low, high = np.quantile(np.take_along_axis(means, chosen, axis=1).mean(axis=1), [0.025, 0.975])
    difference = float(np.mean([changes[members].mean() for members in tasks.values()]))
    return DifferenceOverTasks(difference, (float(low), float(high)), len(tasks), changes.size, len(pairs))


def _check(difference: float, discordant: float) -> None:
    if not (abs(difference) <= discordant <= 1):
        raise ConfigError(
            f"accuracies cannot differ by {100 * difference:g} points where {100 * discordant:g} % of the items differ",
            remedy="give a difference up to that share, and a share up to 100 %",
        )
