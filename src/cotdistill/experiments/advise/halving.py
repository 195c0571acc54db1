"""Successive halving: many arms on small pilots, the best of them on larger ones. Numbers only; does not load torch.

After Karnin, Koren and Somekh 2013 and Jamieson and Talwalkar (arXiv 1502.07943): each rung has the same budget, shared
by the arms that are left in it; one in ``eta`` of them goes on. Two things are ours, because arms differ in cost, and a
pilot is tested as well as trained: the pilots of a rung have the same number of questions, not the same cost, and at
most ``TEST_SHARE`` of a rung's budget goes into testing.

The unit of cost is a token read by the student, forward; a token that is trained on counts three times (once forward,
twice backward). What a teacher reads or writes is not counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from cotdistill.evaluation.outcomes import Item
from cotdistill.evaluation.stored import Answers, outcomes_of

TRAINED = 3
"""The cost of a token that is trained on."""

TEST_SHARE = 0.25
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Price:
    """What training and testing an arm cost in full."""

    train: float
    test: float

    @property
    def total(self) -> float:
        return self.train + self.test


@dataclass(frozen=True, slots=True)
class Size:
    """A pilot's shares of an arm's training and test questions."""

    train: float
    test: float


def rung_sizes(num_arms: int, eta: int) -> list[int]:
    """How many arms each rung has: 12 and 3 for twelve arms and ``eta`` 4. None for a single arm."""
    sizes = []
    while num_arms > 1:
        sizes.append(num_arms)
        num_arms = math.ceil(num_arms / eta)
    return sizes


def pilot_size(prices: Sequence[Price], budget: float) -> Size:
    """The largest pilots of all these arms that ``budget`` pays for; training is 0 if it pays for none."""
    test = min(1.0, max(0.0, TEST_SHARE * budget / sum(price.test for price in prices)))
    left = budget - test * sum(price.test for price in prices)
    return Size(min(1.0, max(0.0, left / sum(price.train for price in prices))), test)


def best_first(accuracies: dict[str, float], prices: dict[str, Price]) -> list[str]:
    """Names by accuracy; the cheaper first if equal."""
    return sorted(accuracies, key=lambda name: (-accuracies[name], prices[name].total, name))


def upper_difference(a: Answers, b: Answers, num_compared: int) -> float:
    """An upper bound on the accuracy of ``a`` minus that of ``b``, as fractions, on the questions that they share.

    It holds at 95 % for ``num_compared`` such bounds together: Bonferroni over Bonett and Price's 2012 adjusted Wald
    interval of a paired difference, which has a width even where the two never differ.
    """
    right, right_b = (_correct(answers) for answers in (a, b))
    shared = [(correct, right_b[item]) for item, correct in right.items() if item in right_b]
    gained = 1 + sum(mine and not theirs for mine, theirs in shared)
    lost = 1 + sum(theirs and not mine for mine, theirs in shared)
    n = len(shared) + 2
    difference = (gained - lost) / n
    error = math.sqrt(gained + lost - (gained - lost) ** 2 / n) / n
    return difference + NormalDist().inv_cdf(1 - (1 - LEVEL) / num_compared) * error


def _correct(answers: Answers) -> dict[Item, bool]:
    outcomes = outcomes_of(answers)
    return dict(zip(outcomes.items.places, outcomes.correct.tolist(), strict=True))
