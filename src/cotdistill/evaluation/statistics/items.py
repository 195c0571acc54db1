"""Outcomes of several students joined by item: a task's question with its gold answer. Loads no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from cotdistill.errors import DataError
from cotdistill.evaluation.outcomes import Items, Outcomes
from cotdistill.evaluation.statistics.metrics import metric_values
from cotdistill.evaluation.stored import Answers, outcomes_of
from cotdistill.records import ACCURACY

if TYPE_CHECKING:
    import numpy as np

Pairs: TypeAlias = Sequence[tuple[Answers, Answers]]
"""Answers of arms a and b, a pair per training seed, all on the same items."""


def joined_outcomes(pairs: Pairs, names: tuple[str, str], metric: str = ACCURACY) -> np.ndarray:
    """Whether each item is correct, as integers [2 arms, seeds, items] with the items in one order; of another metric
    its values, as floats.

    Raises DataError if there is nothing to compare, an id occurs twice, or the students answered different items,
    and as :func:`metric_values` does.
    """
    import numpy as np

    if not pairs:
        raise DataError(f"there are no predictions of {names[0]} and {names[1]} to compare")
    labels = [name if len(pairs) == 1 else f"{name} (pair {seed})" for seed in range(len(pairs)) for name in names]
    arms = [checked(arm, label) for arm, label in zip([arm for pair in pairs for arm in pair], labels, strict=True)]
    first = arms[0].items
    found = []
    for arm, label in zip(arms, labels, strict=True):
        order = places_of(first, arm.items, (labels[0], label))
        values = arm.correct.astype(np.int64) if metric == ACCURACY else metric_values(arm, metric)
        found.append(values if order is None else values[order])
    return np.array(found).reshape(len(pairs), 2, -1).swapaxes(0, 1)


def checked(answers: Answers, label: str) -> Outcomes:
    """The outcomes of answers. Raises DataError if there are none or an item occurs twice."""
    outcomes = outcomes_of(answers)
    if not len(outcomes):
        raise DataError("there are no predictions", where=label, remedy="evaluate on at least one item")
    if repeated := outcomes.items.repeated:
        task, id_ = repeated
        raise DataError(f"id {id_!r} of task {task} occurs twice", where=label)
    return outcomes


def places_of(a: Items, b: Items, labels: tuple[str, str]) -> list[int] | None:
    """Where each item of a is in b; None if they have one order.

    Raises DataError unless both are the same questions: same ids, same gold answers.
    """
    if a is b or a == b:
        return None
    where, remedy = f"{labels[0]} against {labels[1]}", "evaluate both arms on the same items"
    if a.places.keys() != b.places.keys():
        problem = (
            f"different items: {len(b.places.keys() - a.places.keys())} missing from {labels[0]}, "
            f"{len(a.places.keys() - b.places.keys())} missing from {labels[1]}"
        )
        raise DataError(problem, where=where, remedy=remedy)
    order = [b.places[item] for item in a.places]
    for (task, id_), gold, place in zip(a.places, a.golds, order, strict=True):
        if gold != b.golds[place]:
            problem = f"the gold answers of id {id_!r} of task {task} differ: {gold!r} and {b.golds[place]!r}"
            raise DataError(problem, where=where, remedy=remedy)
    return order
