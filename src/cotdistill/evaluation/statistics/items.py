"""Predictions of several students joined by item: a task's question with its gold answer. Loads no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cotdistill.errors import DataError
from cotdistill.evaluation.statistics.metrics import value_of
from cotdistill.records import ACCURACY, Prediction

if TYPE_CHECKING:
    import numpy as np

Pairs = Sequence[tuple[Sequence[Prediction], Sequence[Prediction]]]
"""Predictions of arms a and b, a pair per training seed, all on the same items."""


def joined_outcomes(pairs: Pairs, names: tuple[str, str], metric: str = ACCURACY) -> np.ndarray:
    """Whether each item is correct, as integers [2 arms, seeds, items] with the items in one order; of another metric
    its values, as floats.

    Raises DataError if there is nothing to compare, an id occurs twice, or the students answered different items,
    and as :func:`value_of` does.
    """
    import numpy as np

    if not pairs:
        raise DataError(f"there are no predictions of {names[0]} and {names[1]} to compare")
    labels = [name if len(pairs) == 1 else f"{name} (pair {seed})" for seed in range(len(pairs)) for name in names]
    arms = [by_item(arm, label) for arm, label in zip([arm for pair in pairs for arm in pair], labels, strict=True)]
    first = arms[0]
    for arm, label in zip(arms[1:], labels[1:], strict=True):
        _check_same_items(first, arm, (labels[0], label))
    outcomes = np.array([[value_of(arm[item], metric) for item in first] for arm in arms])
    outcomes = outcomes.astype(np.int64) if metric == ACCURACY else outcomes
    return outcomes.reshape(len(pairs), 2, -1).swapaxes(0, 1)


def by_item(predictions: Sequence[Prediction], label: str) -> dict[tuple[str, str], Prediction]:
    """Predictions by task and id. Raises DataError if there are none or one occurs twice."""
    if not predictions:
        raise DataError("there are no predictions", where=label, remedy="evaluate on at least one item")
    items: dict[tuple[str, str], Prediction] = {}
    for prediction in predictions:
        key = (prediction.task, prediction.id)
        if key in items:
            raise DataError(f"id {prediction.id!r} of task {prediction.task} occurs twice", where=label)
        items[key] = prediction
    return items


def _check_same_items(
    a: dict[tuple[str, str], Prediction], b: dict[tuple[str, str], Prediction], labels: tuple[str, str]
) -> None:
    """Raise DataError unless both arms answered the same questions: same ids, same gold answers."""
    where, remedy = f"{labels[0]} against {labels[1]}", "evaluate both arms on the same items"
    if a.keys() != b.keys():
        problem = (
            f"different items: {len(b.keys() - a.keys())} missing from {labels[0]}, "
            f"{len(a.keys() - b.keys())} missing from {labels[1]}"
        )
        raise DataError(problem, where=where, remedy=remedy)
    for (task, id_), prediction in a.items():
        other = b[task, id_].answer
        if prediction.answer != other:
            problem = f"the gold answers of id {id_!r} of task {task} differ: {prediction.answer!r} and {other!r}"
            raise DataError(problem, where=where, remedy=remedy)
