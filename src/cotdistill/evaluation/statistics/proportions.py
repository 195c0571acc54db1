"""Intervals of proportions (Wilson 1927): of a student's accuracy, and of an arm's over seeds. Loads no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from cotdistill.errors import DataError
from cotdistill.evaluation.statistics.seeds import Variance

LEVEL = 0.95


def wilson_interval(num_correct: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's score interval of the fraction ``num_correct / n``, within [0, 1]. Raises DataError for ``n`` = 0."""
    if n == 0:
        raise DataError("an interval needs at least one prediction, but there are none")
    assert 0 <= num_correct <= n
    return wilson(num_correct / n, n, NormalDist().inv_cdf((1 + level) / 2))


def seeds_interval(accuracies: Sequence[float], n: float) -> tuple[float, float]:
    """The 95 % interval of an arm's accuracy for new seeds and new items, from its accuracy under each seed on n items.

    Wilson's with the effective number of items, at which a proportion's variance is that of the mean over the seeds
    (Korn and Graubard 1998), and Student's quantile with Satterthwaite's degrees of freedom (``seeds.py``).
    """
    import numpy as np
    from scipy.stats import t

    mean, of_items = float(np.mean(accuracies)), float(np.mean(accuracies) * (1 - np.mean(accuracies))) / n
    between = float(np.var(accuracies, ddof=1)) if len(accuracies) > 1 else 0.0
    variance = Variance(between, 0.0, of_items, 1.0, n)
    total = variance.total(len(accuracies))
    effective = n * of_items / total if total else n
    return wilson(mean, effective, float(t.ppf((1 + LEVEL) / 2, variance.degrees(len(accuracies)))))


def wilson(fraction: float, n: float, z: float) -> tuple[float, float]:
    """Wilson's score interval of a fraction of ``n`` items, which need not be whole, at the quantile ``z``."""
    centre = (fraction + z**2 / (2 * n)) / (1 + z**2 / n)
    half_width = z * math.sqrt(fraction * (1 - fraction) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    # At 0 and 1 one bound is exactly there; rounding must not move it.
    return (0.0 if fraction == 0 else centre - half_width), (1.0 if fraction == 1 else centre + half_width)
