"""Averages over the tasks of an evaluation: every item alike, every task alike, and the papers' groups of BBH."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cotdistill.evaluation.statistics import score
from cotdistill.records import Prediction, Score
from cotdistill.tasks.bbh import GROUPS


def by_task(predictions: Iterable[Prediction]) -> dict[str, Score]:
    """The score of each task among the predictions, by name."""
    grouped: dict[str, list[Prediction]] = {}
    for prediction in predictions:
        grouped.setdefault(prediction.task, []).append(prediction)
    return {task: score(group) for task, group in sorted(grouped.items())}


def averages(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Accuracies as fractions: ``micro`` over items, ``macro`` over tasks, and ``bbh/<group>`` over a group's tasks.

    A group is the mean over those of its tasks that are there, and left out where none is.
    """
    accuracies = {task: one.accuracy for task, one in by_task(predictions).items()}
    found = {"micro": score(predictions).accuracy, "macro": _mean(accuracies.values())}
    for group, names in GROUPS.items():
        if present := [accuracies[f"bbh/{name}"] for name in names if f"bbh/{name}" in accuracies]:
            found[f"bbh/{group}"] = _mean(present)
    return found


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers)
