"""Averages over the tasks of an evaluation: all items equal, all tasks equal, and the papers' groups of BBH."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from cotdistill.evaluation.statistics.comparisons import score
from cotdistill.records import Prediction, Score
from cotdistill.tasks.benchmarks.bbh import GROUPS


def by_task(predictions: Iterable[Prediction]) -> dict[str, Score]:
    """The score of each task among the predictions, by name."""
    grouped: dict[str, list[Prediction]] = {}
    for prediction in predictions:
        grouped.setdefault(prediction.task, []).append(prediction)
    return {task: score(group) for task, group in sorted(grouped.items())}


def averages(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Accuracies as fractions: ``micro`` over items, ``macro`` over tasks, and ``bbh/<group>`` over a group's tasks."""
    accuracies = {task: one.accuracy for task, one in by_task(predictions).items()}
    return {"micro": score(predictions).accuracy, "macro": _mean(accuracies.values())} | by_group(accuracies)


def by_group(accuracies: Mapping[str, float]) -> dict[str, float]:
    """``bbh/<group>``: the mean over a group's tasks in ``accuracies``; absent if there are none."""
    names = {group: [f"bbh/{task}" for task in tasks] for group, tasks in GROUPS.items()}
    present = {group: [accuracies[task] for task in tasks if task in accuracies] for group, tasks in names.items()}
    return {f"bbh/{group}": _mean(found) for group, found in present.items() if found}


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers)
