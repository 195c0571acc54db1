"""The mean difference over tasks, where tasks are a sample too. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass

from cotdistill.evaluation.statistics.comparisons import pooled
from cotdistill.evaluation.statistics.items import Pairs, joined_outcomes
from cotdistill.evaluation.statistics.seeds import variance_of
from cotdistill.evaluation.stored import outcomes_of

__all__ = ["compare_over_tasks"]


@dataclass(frozen=True, slots=True)
class DifferenceOverTasks:
    """The mean of the tasks' differences in accuracy, and a 95 % interval for new tasks, items and (if there are
    several) seeds. All are fractions.
    """

    difference: float
    interval: tuple[float, float]
    num_tasks: int
    num_items: int
    num_seeds: int


def compare_over_tasks(pairs: Pairs, *, num_resamples: int = 10_000, seed: int = 0) -> DifferenceOverTasks:
    """Arm a against arm b, macro-averaged over tasks: every task counts the same, whatever its number of items.

    ``pairs`` holds one (a, b) per training seed. With k tasks the interval is Student's with k - 1 degrees of freedom
    on the k differences: their variance includes how tasks differ and the uncertainty from each task's items, so
    nothing is counted twice. Over several seeds their variance is added (``seeds.variance_of``, with tasks as units).
    With one task items are the units: the interval is that of ``comparisons.pooled``, which uses ``num_resamples`` and
    ``seed``. Raises DataError as ``comparisons.compare`` does.

    In simulations with 6 and 23 tasks that differ by 0 to 0.3 it covers the truth in 94 to 96 % of the cases.
    Bootstraps do not: tasks alone 84 to 94 %, items within each drawn task 89 to 99 %, too narrow where tasks differ
    and too wide where they do not; widened by sqrt(k / (k - 1)), 86 to 94 % and 91 to 99 %.
    """
    import numpy as np

    outcomes = joined_outcomes(pairs, ("a", "b"))
    items = outcomes_of(pairs[0][0]).items
    tasks = range(len(items.names))
    means = np.stack([outcomes[:, :, items.task_numbers == task].mean(axis=2) for task in tasks], axis=2)
    difference = float(means[0].mean() - means[1].mean())
    num_seeds, num_tasks = means.shape[1:]
    if num_tasks == 1:
        interval = pooled(pairs, num_resamples=num_resamples, seed=seed).interval
    else:
        reach = variance_of(means, (1, -1)).half_width(num_seeds)
        interval = (max(-1.0, difference - reach), min(1.0, difference + reach))
    return DifferenceOverTasks(difference, interval, num_tasks, outcomes.shape[2], num_seeds)
