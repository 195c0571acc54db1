"""Averages over the tasks of an evaluation: all items equal, all tasks equal, and the papers' groups of BBH."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cotdistill.evaluation.statistics.comparisons import score
from cotdistill.evaluation.stored import Answers, outcomes_of
from cotdistill.records import Score
from cotdistill.tasks.benchmarks.bbh import GROUPS


def by_task(answers: Answers) -> dict[str, Score]:
    """The score of each task among the answers, by name."""
    outcomes = outcomes_of(answers)
    return {task: score(outcomes.of_task(task)) for task in outcomes.items.names}


def averages(answers: Answers) -> dict[str, float]:
    """Accuracies as fractions: ``micro`` over items, ``macro`` over tasks, and ``bbh/<group>`` over a group's tasks."""
    accuracies = {task: one.accuracy for task, one in by_task(answers).items()}
    return {"micro": score(answers).accuracy, "macro": _mean(accuracies.values())} | by_group(accuracies)


def by_group(accuracies: Mapping[str, float]) -> dict[str, float]:
    """``bbh/<group>``: the mean over a group's tasks in ``accuracies``; absent if there are none."""
    names = {group: [f"bbh/{task}" for task in tasks] for group, tasks in GROUPS.items()}
    present = {group: [accuracies[task] for task in tasks if task in accuracies] for group, tasks in names.items()}
    return {f"bbh/{group}": _mean(found) for group, found in present.items() if found}


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers)
