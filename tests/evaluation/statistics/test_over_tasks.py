"""Differences over tasks: what counts, and how often the interval covers the truth in simulation."""

from __future__ import annotations

import numpy as np
import pytest

from cotdistill.evaluation.statistics.comparisons import compare
from cotdistill.evaluation.statistics.over_tasks import compare_over_tasks
from cotdistill.records import Prediction


def arm(outcomes, task: str = "t") -> list[Prediction]:
    return [
        Prediction(str(i), task, "4", "text", None, "correct" if right else "wrong", 1, 1)
        for i, right in enumerate(outcomes)
    ]


def many_tasks(effects, num_items: int, seed: int) -> tuple[list[Prediction], list[Prediction]]:
    draws = np.random.default_rng(seed)
    a, b = [], []
    for task, effect in enumerate(effects):
        b += arm(draws.random(num_items) < 0.4, task=f"task-{task}")
        a += arm(draws.random(num_items) < 0.4 + effect, task=f"task-{task}")
    return a, b


def test_the_interval_is_students_on_the_tasks_differences():
    from scipy.stats import ttest_1samp

    a, b = many_tasks([-0.2, 0.4, 0.1, 0.3, 0.0], 50, seed=2)
    correct = [np.array([each.correct for each in one], float).reshape(5, 50).mean(axis=1) for one in (a, b)]
    expected = ttest_1samp(correct[0] - correct[1], 0).confidence_interval(0.95)
    assert compare_over_tasks([(a, b)]).interval == pytest.approx(tuple(expected))


def test_tasks_that_differ_widen_the_interval():
    alike = compare_over_tasks([many_tasks([0.1] * 9, 200, seed=5)])
    apart = compare_over_tasks([many_tasks([-0.2, 0.4, 0.1] * 3, 200, seed=5)])
    assert (alike.num_tasks, alike.num_items, alike.num_seeds) == (9, 1800, 1)
    assert alike.difference == pytest.approx(0.1, abs=0.05)
    assert alike.interval[0] > 0 > apart.interval[0]
    assert np.ptp(apart.interval) > 1.5 * np.ptp(alike.interval)


def test_every_task_counts_alike_and_seeds_repeat_no_items():
    a = [*arm([1] * 90), *arm([0] * 10, task="small")]
    b = [*arm([0] * 90), *arm([0] * 10, task="small")]
    assert compare_over_tasks([(a, b)]).difference == pytest.approx(0.5)
    assert compare_over_tasks([(a, b)] * 3).interval == pytest.approx(compare_over_tasks([(a, b)]).interval)


def test_one_task_is_an_ordinary_comparison():
    draws = np.random.default_rng(8)
    a, b = arm(draws.random(300) < 0.6), arm(draws.random(300) < 0.5)
    assert compare_over_tasks([(a, b)]).interval == compare(a, b).interval


def test_the_order_of_items_does_not_matter():
    a, b = many_tasks([0.2, 0.0, -0.1], 20, seed=3)
    assert compare_over_tasks([(a[::-1], b)]).interval == pytest.approx(compare_over_tasks([(a, b)]).interval)


def coverage(
    num_tasks: int, spread: float, num_simulations: int, *, num_seeds: int = 1, seed_spread: float = 0
) -> float:
    """How often the interval holds the truth, 0, where tasks differ by ``spread`` and seeds by ``seed_spread``.

    An item is as hard for both arms; of a task's effect one arm has the one half and the other the opposite.
    """
    draws = np.random.default_rng(1)
    num_items, covered = 30, 0
    names = [f"task-{task}" for task in range(num_tasks)]
    for _ in range(num_simulations):
        effect = draws.normal(0, spread, (num_tasks, 1))
        easy = draws.beta(2, 2, (num_tasks, num_items))
        pairs = []
        for _ in range(num_seeds):
            shifts = [sign * effect / 2 + draws.normal(0, seed_spread) for sign in (1, -1)]
            right = [draws.random(easy.shape) < np.clip(easy + shift, 0, 1) for shift in shifts]
            pairs.append(tuple([each for row in map(arm, one, names) for each in row] for one in right))
        low, high = compare_over_tasks(pairs).interval
        covered += low <= 0 <= high
    return covered / num_simulations


def test_a_few_tasks_are_covered_as_often_as_promised():
    assert coverage(6, 0.15, 200) == pytest.approx(0.95, abs=4 * (0.05 * 0.95 / 200) ** 0.5)


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.parametrize("spread", [0.0, 0.05, 0.15])
@pytest.mark.parametrize("num_tasks", [6, 23])
def test_tasks_drawn_anew_are_covered_as_often_as_promised(num_tasks: int, spread: float):
    assert 0.93 <= coverage(num_tasks, spread, 1000) <= 0.975


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.parametrize("spread", [0.0, 0.05])
def test_tasks_and_seeds_drawn_anew_are_covered_as_often_as_promised(spread: float):
    assert 0.93 <= coverage(6, 0.1, 800, num_seeds=3, seed_spread=spread) <= 0.985
