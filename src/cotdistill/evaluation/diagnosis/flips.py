"""Where one arm gains and loses against another: flips by task, their significance, and what failed in each.

A flip is an item that one arm gets right and the other wrong. Four rules tell from the wrong output what failed, in
this order:

- length: the token limit came before an answer;
- format: no answer can be read, or another one than the last statement would have been right (``flexible``);
- arithmetic: an equation of two numbers in the output is false;
- reasoning: none of these.

The rules are cheap and crude: "reasoning" is everything else, and a false equation need not be why the answer is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Literal

from cotdistill.errors import DataError
from cotdistill.evaluation.diagnosis.extractors import EXTRACTORS
from cotdistill.evaluation.statistics.comparisons import compare, holm
from cotdistill.evaluation.statistics.items import joined_outcomes
from cotdistill.evaluation.stored import outcomes_of
from cotdistill.records import Prediction, Question, count_by

Failure = Literal["length", "format", "arithmetic", "reasoning"]

MAX_SEARCH = 20_000
"""How many characters at the end of an output are searched for equations."""

_NUMBER = r"[0-9]{1,15}(?:\.[0-9]{1,9})?"
_EQUATION = re.compile(
    rf"(?<![-+*/×÷.(\w])(?<![-+*/×÷] )(-?{_NUMBER}) ?([-+*/×÷]) ?({_NUMBER}) ?= ?(-?{_NUMBER})(?![\d.]*\d|%| ?[-+*/×÷])"
)
"""Two numbers, a sign and a result, not part of a longer expression."""


@dataclass(frozen=True, slots=True)
class Flip:
    """``gained``: the first arm is right and the second wrong; else the reverse. ``failure`` is the wrong arm's."""

    id: str
    task: str
    gained: bool
    failure: Failure

    def to_row(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class TaskFlips:
    """A task's flips. ``p_value`` is McNemar's exact one, ``adjusted_p_value`` Holm's over all tasks.

    ``failures_of_gained`` are failures of the second arm, which the first arm fixed; ``failures_of_lost`` are the
    first arm's own.
    """

    task: str
    n: int
    gained: int
    lost: int
    p_value: float
    adjusted_p_value: float | None
    failures_of_gained: dict[str, int]
    failures_of_lost: dict[str, int]

    def to_row(self) -> dict[str, Any]:
        return asdict(self)


def find_flips(questions: Iterable[Question], a: Sequence[Prediction], b: Sequence[Prediction]) -> list[Flip]:
    """The flips of arm ``a`` against arm ``b`` in the order of ``a``.

    Raises DataError as ``statistics.compare`` does, and for an item without its question.
    """
    outcomes = joined_outcomes([(a, b)], ("a", "b"))[:, 0]
    items, others = outcomes_of(a).items, outcomes_of(b).items
    asked = {(question.task, question.id): question for question in questions}
    flips = []
    for (item, place), right, other in zip(items.places.items(), *outcomes.tolist(), strict=True):
        if item not in asked:
            raise DataError(f"the question {item[1]!r} of task {item[0]} is missing", remedy="evaluate again")
        if right != other:
            wrong = b[others.places[item]] if right else a[place]
            flips.append(Flip(wrong.id, wrong.task, bool(right), failure_of(wrong, asked[item])))
    return flips


def flips_by_task(questions: Iterable[Question], a: Sequence[Prediction], b: Sequence[Prediction]) -> list[TaskFlips]:
    """Flips of each task, in the order of the tasks' names."""
    flips = find_flips(questions, a, b)
    one, other = outcomes_of(a), outcomes_of(b)
    tasks = one.items.names
    results = holm([compare(one.of_task(task), other.of_task(task), num_resamples=1) for task in tasks])
    return [
        TaskFlips(
            task,
            result.n,
            result.gained,
            result.lost,
            result.p_value,
            result.adjusted_p_value,
            count_by(flip.failure for flip in flips if flip.task == task and flip.gained),
            count_by(flip.failure for flip in flips if flip.task == task and not flip.gained),
        )
        for task, result in zip(tasks, results, strict=True)
    ]


def failure_of(prediction: Prediction, question: Question) -> Failure:
    """What failed in an incorrect prediction."""
    if prediction.verdict == "truncated":
        return "length"
    flexible = EXTRACTORS["flexible"]
    found = flexible.extract(prediction.output, question)
    if prediction.verdict == "unreadable" or (found is not None and flexible.same(found, question)):
        return "format"
    return "arithmetic" if has_false_equation(prediction.output) else "reasoning"


def has_false_equation(text: str) -> bool:
    """Whether an equation of two numbers is false; a rounded quotient or decimal counts as true."""
    return any(not _holds(*match.groups()) for match in _EQUATION.finditer(text[-MAX_SEARCH:].replace(",", "")))


def _holds(left: str, sign: str, right: str, stated: str) -> bool:
    one, other, result = Fraction(left), Fraction(right), Fraction(stated)
    if sign in "/÷":
        if other == 0:
            return False
        value = one / other
    else:
        value = one + other if sign == "+" else one - other if sign == "-" else one * other
    if digits := len(stated.partition(".")[2]):
        return abs(value - result) <= Fraction(1, 2 * 10**digits)
    return value == result or (sign in "/÷" and abs(value - result) < Fraction(1, 2))
