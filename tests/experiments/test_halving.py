"""Successive halving in numbers: sizes of rungs, pilots that a budget pays for, and the bound on what is lost."""

from __future__ import annotations

import random

import pytest

from cotdistill.experiments.advise.halving import Price, best_first, pilot_size, rung_sizes, upper_difference
from cotdistill.records import Prediction


def predictions(correct: list[bool]) -> list[Prediction]:
    return [
        Prediction(str(n), "own", "1", "", None, "correct" if right else "wrong", 1, 1)
        for n, right in enumerate(correct)
    ]


@pytest.mark.parametrize(
    ("num_arms", "eta", "sizes"), [(1, 4, []), (2, 4, [2]), (12, 4, [12, 3]), (12, 3, [12, 4, 2]), (24, 4, [24, 6, 2])]
)
def test_one_in_eta_goes_on_until_one_is_left(num_arms: int, eta: int, sizes: list[int]) -> None:
    assert rung_sizes(num_arms, eta) == sizes


@pytest.mark.parametrize("budget", [10.0, 100.0, 1000.0, 1e6])
def test_pilots_cost_their_budget_and_no_more_than_the_arms_themselves(budget: float) -> None:
    prices = [Price(300, 20), Price(900, 60)]
    size = pilot_size(prices, budget)
    cost = sum(size.train * price.train + size.test * price.test for price in prices)
    assert cost == pytest.approx(min(budget, sum(price.total for price in prices)))
    assert size.test * 80 <= budget / 4


def test_a_budget_of_nothing_trains_nothing() -> None:
    assert pilot_size([Price(300, 20)], 0).train == 0


def test_of_equal_arms_the_cheaper_is_first() -> None:
    prices = {"long": Price(9, 1), "short": Price(3, 1), "best": Price(99, 1)}
    assert best_first({"long": 0.5, "short": 0.5, "best": 0.6}, prices) == ["best", "short", "long"]


def test_the_bound_holds_as_often_as_it_says() -> None:
    """Two arms that differ by ten points: the bound on their difference is too low in at most 5 % of draws."""
    draw = random.Random(0)
    too_low = 0
    for _ in range(300):
        items = [draw.random() for _ in range(200)]
        a = predictions([item < 0.35 or item > 0.85 for item in items])
        b = predictions([item < 0.40 for item in items])
        too_low += upper_difference(a, b, 1) < 0.10
    assert 1 <= too_low <= 25


def test_the_bound_is_wider_for_more_comparisons_and_fewer_items() -> None:
    a, b = predictions([True, False] * 50), predictions([False, False] * 50)
    assert upper_difference(a, b, 1) < upper_difference(a, b, 10)
    assert upper_difference(a, b, 1) < upper_difference(a[:20], b[:20], 1)
    assert upper_difference(a, a, 1) > 0
    assert upper_difference(a[:50], b[25:75], 1) == upper_difference(a[25:50], b[25:50], 1)
