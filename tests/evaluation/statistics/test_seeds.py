"""Arms over several seeds: what the test agrees with, and what it does under simulated nulls and differences.

A simulated output is right where its item's hardness, the arm's own hardness of the item and chance stay below the
student's ability, which differs between seeds by ``spread`` (of both arms, or of each). Arms differ by ``difference``
in accuracy.
"""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest

from cotdistill.errors import DataError
from cotdistill.evaluation.statistics.comparisons import (
    OVER_ITEMS,
    OVER_SEEDS,
    compare,
    margin_p_value,
    pooled,
    score,
    trend,
)
from cotdistill.evaluation.statistics.proportions import seeds_interval, wilson_interval
from cotdistill.evaluation.statistics.seeds import Variance, variance_of
from cotdistill.records import Prediction

RIGHT, WRONG = (
    [Prediction(f"i{i}", "t", "4", "x", None, verdict, 1, 1) for i in range(400)] for verdict in ("correct", "wrong")
)


def arm(outcomes) -> list[Prediction]:
    return [RIGHT[i] if right else WRONG[i] for i, right in enumerate(outcomes)]


def pairs_of(outcomes: np.ndarray) -> list[tuple[list[Prediction], list[Prediction]]]:
    """From outcomes [2 arms, seeds, items]."""
    return [(arm(a), arm(b)) for a, b in zip(*outcomes, strict=True)]


def simulated(
    draws: np.random.Generator,
    num_seeds: int,
    *,
    spread: float | tuple[float, float],
    by_item: float = 0.0,
    chance: float = 0.5,
    difference: float = 0.0,
    num_items: int = 150,
) -> np.ndarray:
    hardness = draws.normal(size=(1, 1, num_items)) + by_item * draws.normal(size=(2, 1, num_items))
    noise = chance * draws.normal(size=(2, num_seeds, num_items))
    accuracy = (
        0.5
        + difference * np.array([0.5, -0.5]).reshape(2, 1, 1)
        + np.reshape(spread, (-1, 1, 1)) * draws.normal(size=(2, num_seeds, 1))
    )
    scale = (1 + by_item**2 + chance**2) ** 0.5
    ability = np.vectorize(NormalDist().inv_cdf)(np.clip(accuracy, 0.001, 0.999)) * scale
    return hardness + noise < ability


def share_found(num_simulations: int, num_seeds: int, **how) -> float:
    """How often the t-test finds p < 0.05; that of ``pooled`` is never smaller."""
    draws, found = np.random.default_rng(1), 0
    for _ in range(num_simulations):
        outcomes = simulated(draws, num_seeds, **how)
        difference = outcomes[0].mean() - outcomes[1].mean()
        found += variance_of(outcomes, (1, -1)).p_value(difference, num_seeds) < 0.05
    return found / num_simulations


def test_without_differences_by_item_it_is_welchs_test_on_the_seeds_accuracies():
    from scipy.stats import ttest_ind

    outcomes = simulated(np.random.default_rng(4), 4, spread=0.15, num_items=400)
    found = replace(variance_of(outcomes, (1, -1)), items=0.0, noise=0.0)
    means = outcomes.mean(axis=2)
    welch = ttest_ind(*means, equal_var=False)
    assert found.p_value(means[0].mean() - means[1].mean(), 4) == pytest.approx(welch.pvalue)
    low, high = welch.confidence_interval(0.95)
    assert found.half_width(4) == pytest.approx((high - low) / 2)


def test_with_one_seed_it_is_the_paired_test_over_items():
    from scipy.stats import ttest_rel

    (a,), (b,) = outcomes = simulated(np.random.default_rng(4), 1, spread=0.0)
    _, expected = ttest_rel(a.astype(float), b.astype(float))
    assert variance_of(outcomes, (1, -1)).p_value(a.mean() - b.mean(), 1) == pytest.approx(expected)


def test_the_three_variances_are_told_apart():
    draws = np.random.default_rng(0)
    found = [variance_of(simulated(draws, 5, spread=0.03, by_item=0.7), (1, -1)) for _ in range(300)]
    many = simulated(draws, 3000, spread=0.0, by_item=0.7)
    chance = many.var(axis=1, ddof=1).mean(axis=1).sum() / 150
    by_item = (many[0].mean(axis=0) - many[1].mean(axis=0)).var() / 150
    assert np.mean([each.noise for each in found]) == pytest.approx(chance, rel=0.1)
    assert np.mean([each.seeds for each in found]) == pytest.approx(2 * 0.03**2 + chance, rel=0.1)
    assert np.mean([each.items for each in found]) == pytest.approx(by_item, rel=0.15)


def test_one_seed_is_about_these_students_and_several_about_arms():
    outcomes = simulated(np.random.default_rng(2), 3, spread=0.05, difference=0.15)
    pairs = pairs_of(outcomes)
    one, three = pooled(pairs[:1]), pooled(pairs)
    assert (one.method, one.variance, one.items_p_value) == (OVER_ITEMS, None, None)
    assert one == compare(*pairs[0])
    assert three.method == OVER_SEEDS
    assert three.items_p_value is not None
    assert three.p_value > three.items_p_value
    assert three.interval[0] < three.difference < three.interval[1]
    row = three.to_row()
    assert row["method"] == OVER_SEEDS
    assert list(row["seeds_needed"]) == ["3 points", "5 points", "7 points"]
    assert "seeds_needed" not in one.to_row()


def test_the_p_is_never_below_that_of_the_exact_test_on_the_same_students():
    draws = np.random.default_rng(9)
    for num_items in (1, 2, 6, 20):
        for _ in range(20):
            found = pooled(pairs_of(simulated(draws, 3, spread=0.0, difference=0.4, num_items=num_items)))
            assert found.p_value >= (found.items_p_value or 0)
    sure = pooled([(arm([1] * 4), arm([0] * 4))] * 3)
    assert (sure.p_value, sure.interval) == (2 / 2**4, (1.0, 1.0))


def test_an_untrained_arm_has_no_spread_of_its_own():
    """Its one student stands beside every seed of the other arm: Welch's test becomes that of one sample."""
    from scipy.stats import ttest_1samp

    outcomes = simulated(np.random.default_rng(6), 5, spread=0.2, num_items=400)
    outcomes[1] = outcomes[1, :1]
    found = replace(variance_of(outcomes, (1, -1)), items=0.0, noise=0.0)
    difference = outcomes[0].mean(axis=1) - outcomes[1].mean(axis=1)
    assert found.p_value(difference.mean(), 5) == pytest.approx(ttest_1samp(difference, 0)[1])


def test_more_seeds_find_more_and_too_few_items_are_no_matter_of_seeds():
    variance = Variance(seeds=2 * 0.03**2, noise=0.0, items=0.0, num_arms=2.0, num_items=300)
    needed = [variance.seeds_needed(points / 100) or 0 for points in (3, 5, 7)]
    assert needed == sorted(needed, reverse=True)
    for points, seeds in zip((3, 5, 7), needed, strict=True):
        assert variance.power(points / 100, seeds) >= 0.8 > variance.power(points / 100, seeds - 1)
    assert replace(variance, items=0.03**2).seeds_needed(0.03) is None


def test_an_arms_interval_over_seeds_is_wilsons_where_seeds_agree_and_wider_where_they_do_not():
    assert seeds_interval([0.4] * 3, 200) == pytest.approx(wilson_interval(80, 200), abs=0.002)  # t for z
    assert seeds_interval([0.0] * 3, 200)[0] == 0.0
    low, high = seeds_interval([0.35, 0.4, 0.45], 200)
    assert 0 < low < wilson_interval(80, 200)[0] - 0.02
    assert wilson_interval(80, 200)[1] + 0.02 < high < 1


def gains(*shares: float, num_seeds: int = 1):
    """Levels with so many more right than the base's 0, of 100 items."""
    return [[(arm([i < 100 * share for i in range(100)]), arm([False] * 100))] * num_seeds for share in shares]


@pytest.mark.parametrize("num_seeds", [1, 3])
def test_a_trend_is_tested_at_every_step(num_seeds: int):
    """A line through the first and the last level would not see what is between them."""
    up, down = trend(gains(0.0, 0.6, 0.08, num_seeds=num_seeds))
    assert (up.difference, down.difference) == (pytest.approx(0.6), pytest.approx(-0.52))
    assert max(up.p_value, down.p_value) < 1e-6
    assert up.interval[0] > 0 > down.interval[1]
    (first, second) = trend(gains(0.1, 0.1, 0.4, num_seeds=num_seeds))
    assert (first.difference, first.p_value) == (0.0, 1.0)
    assert second.p_value < 1e-6


def test_two_levels_are_the_comparison_of_their_gains():
    base = [False] * 100
    levels = [[(arm(i < 30 for i in range(100)), arm(base))], [(arm(i < 50 for i in range(100)), arm(base))]]
    (step,) = trend(levels)
    found = compare(levels[1][0][0], levels[0][0][0])
    assert (step.difference, step.interval, step.p_value) == (found.difference, found.interval, found.p_value)


def test_levels_must_hold_the_same_items():
    with pytest.raises(DataError, match="missing from"):
        trend([[(arm([1, 0]), arm([0, 0]))], [(arm([1]), arm([0]))]])


def test_equivalence_over_seeds_is_wider_than_that_of_these_students():
    outcomes = simulated(np.random.default_rng(3), 3, spread=0.05, num_items=400)
    pairs = pairs_of(outcomes)
    alone = [margin_p_value([pair], 0.1, names=("a", "b")) for pair in pairs]
    assert margin_p_value(pairs, 0.1, names=("a", "b")) > min(alone)


def test_nulls_with_a_spread_between_seeds_are_rejected_no_more_often_than_promised():
    """The paired test over items says "a beats b" in far more of them."""
    assert share_found(1000, 3, spread=0.03) <= 0.06
    draws = np.random.default_rng(1)
    found = [pooled(pairs_of(simulated(draws, 3, spread=0.03))).items_p_value for _ in range(100)]
    assert sum(p is not None and p < 0.05 for p in found) > 10


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.parametrize(("by_item", "chance"), [(0.0, 0.5), (0.7, 0.5), (1.0, 0.1)])
@pytest.mark.parametrize("spread", [0.0, 0.03, 0.05])
@pytest.mark.parametrize("num_seeds", [3, 5, 8])
def test_nulls_are_rejected_in_six_of_a_hundred_cases_at_most(
    num_seeds: int, spread: float, by_item: float, chance: float
):
    rejected = share_found(6000, num_seeds, spread=spread, by_item=by_item, chance=chance)
    assert rejected <= 0.06 + 2 * (0.06 * 0.94 / 6000) ** 0.5


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.parametrize("by_item", [0.0, 0.7])
@pytest.mark.parametrize("num_seeds", [3, 5, 8])
def test_nulls_in_which_one_arm_alone_spreads_are_rejected_no_more_often(num_seeds: int, by_item: float):
    rejected = share_found(6000, num_seeds, spread=(0.05, 0.0), by_item=by_item, num_items=300)
    assert rejected <= 0.06 + 2 * (0.06 * 0.94 / 6000) ** 0.5


@pytest.mark.slow
@pytest.mark.full
def test_differences_are_found_with_the_power_predicted():
    """With three seeds some less often: their few degrees of freedom are themselves estimated."""
    known = variance_of(simulated(np.random.default_rng(8), 2000, spread=0.03, num_items=400), (1, -1))
    found = [share_found(2000, seeds, spread=0.03, difference=0.07, num_items=400) for seeds in (3, 5, 8)]
    predicted = [known.power(0.07, seeds) for seeds in (3, 5, 8)]
    assert found == pytest.approx(predicted, abs=0.12)
    assert found[1:] == pytest.approx(predicted[1:], abs=0.06)
    assert found[0] < 0.5 < found[1] < 0.9 < found[2]


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.parametrize("num_seeds", [3, 5])
def test_the_interval_over_seeds_covers_the_truth_as_often_as_promised(num_seeds: int):
    draws = np.random.default_rng(12)
    covered = 0
    for _ in range(1000):
        outcomes = simulated(draws, num_seeds, spread=0.03, by_item=0.5, difference=0.1, num_items=200)
        low, high = pooled(pairs_of(outcomes)).interval
        covered += low <= 0.1 <= high
    assert 0.935 <= covered / 1000 <= 0.985


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.parametrize("spread", [0.0, 0.03])
def test_an_arms_interval_covers_its_accuracy_as_often_as_promised(spread: float):
    draws = np.random.default_rng(13)
    covered = 0
    for _ in range(1000):
        accuracies = [score(arm(one)).accuracy for one in simulated(draws, 3, spread=spread, num_items=200)[0]]
        low, high = seeds_interval(accuracies, 200)
        covered += low <= 0.5 <= high
    assert 0.935 <= covered / 1000 <= 1.0
