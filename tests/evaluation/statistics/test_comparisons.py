"""Statistics against exact enumeration and independent implementations, and their behaviour under a simulated null."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from cotdistill.errors import DataError
from cotdistill.evaluation.statistics.comparisons import ComparisonResult, compare, holm, pooled, score
from cotdistill.evaluation.statistics.proportions import wilson_interval
from cotdistill.records import Prediction, Score, Verdict


def prediction(
    id: str, correct: bool, *, verdict: Verdict | None = None, answer: str = "4", task: str = "sums"
) -> Prediction:
    verdict = verdict or ("correct" if correct else "wrong")
    return Prediction(id, task, answer, "some text", None, verdict, num_prompt_tokens=9, num_output_tokens=3)


def arm(outcomes: Sequence[int]) -> list[Prediction]:
    return [prediction(f"item-{number}", bool(outcome)) for number, outcome in enumerate(outcomes)]


def paired_arms(*, gained: int, lost: int, both: int, neither: int) -> tuple[list[Prediction], list[Prediction]]:
    a = [1] * gained + [0] * lost + [1] * both + [0] * neither
    b = [0] * gained + [1] * lost + [1] * both + [0] * neither
    return arm(a), arm(b)


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
@pytest.mark.parametrize(("num_correct", "n"), [(0, 1), (1, 1), (0, 40), (7, 40), (40, 40), (500, 1319)])
def test_wilson_interval_is_that_of_statsmodels(num_correct, n, level):
    from statsmodels.stats.proportion import proportion_confint

    expected = proportion_confint(num_correct, n, alpha=1 - level, method="wilson")
    assert wilson_interval(num_correct, n, level) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n", [1, 3, 10, 997])
def test_wilson_interval_ends_exactly_at_zero_and_one(n):
    assert wilson_interval(0, n)[0] == 0.0
    assert wilson_interval(n, n)[1] == 1.0


def test_a_score_and_a_comparison_print_as_a_sentence():
    result = ComparisonResult("a", "b", 300, 0.25, 0.2, 0.05, (0.011, 0.089), 0.0123, 20, 5)
    assert str(result) == "a - b: +5.0 points (1.1 to 8.9), p = 0.0123"
    assert str(replace(result, adjusted_p_value=0.00001)).endswith("p < 0.0001 (Holm)")
    assert str(Score(1200, 0.25, (0.226, 0.275), 300, 900, 0, 0)) == "25.0 % (22.6 to 27.5) of 1,200 questions"


def test_score_counts_all_four_verdicts():
    verdicts: list[Verdict] = [
        "correct",
        "wrong",
        "correct",
        "unreadable",
        "truncated",
        "truncated",
        "wrong",
        "correct",
    ]
    result = score([prediction(str(i), False, verdict=verdict) for i, verdict in enumerate(verdicts)])
    assert (result.correct, result.wrong, result.unreadable, result.truncated) == (3, 2, 1, 2)
    assert (result.n, result.accuracy, result.interval) == (8, 3 / 8, wilson_interval(3, 8))


@pytest.mark.parametrize(("gained", "lost"), list(itertools.product(range(6), repeat=2)))
def test_p_value_is_the_share_of_sign_flips_at_least_as_far_from_zero(gained, lost):
    a, b = paired_arms(gained=gained, lost=lost, both=3, neither=2)
    flips = [sum(signs) for signs in itertools.product((-1, 1), repeat=gained + lost)]
    expected = sum(abs(total) >= abs(gained - lost) for total in flips) / len(flips)
    assert compare(a, b, num_resamples=10).p_value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("gained", "lost"), [(60, 31), (5, 80), (400, 300)])
def test_p_value_is_mcnemars_of_statsmodels(gained, lost):
    from statsmodels.stats.contingency_tables import mcnemar

    a, b = paired_arms(gained=gained, lost=lost, both=50, neither=70)
    expected = mcnemar([[50, gained], [lost, 70]], exact=True).pvalue
    assert compare(a, b, num_resamples=10).p_value == pytest.approx(expected, rel=1e-9)


def test_the_p_of_several_students_is_the_share_of_sign_flips_of_whole_items():
    outcomes_a = np.array([[1, 1, 0, 1, 1, 0, 1], [1, 0, 1, 1, 1, 0, 0], [1, 1, 0, 1, 0, 0, 1]])
    outcomes_b = np.array([[0, 0, 1, 1, 0, 0, 0], [0, 0, 1, 0, 0, 1, 0], [0, 1, 1, 0, 0, 0, 0]])
    sums = (outcomes_a - outcomes_b).sum(axis=0)
    flips = [sums @ np.array(signs) for signs in itertools.product((-1, 1), repeat=len(sums))]
    result = pooled([(arm(a), arm(b)) for a, b in zip(outcomes_a, outcomes_b, strict=True)])
    assert result.items_p_value == pytest.approx(np.mean(np.abs(flips) >= abs(sums.sum())), rel=1e-12)
    assert result.difference == pytest.approx((outcomes_a - outcomes_b).mean())
    assert (result.accuracy_a, result.accuracy_b) == pytest.approx((outcomes_a.mean(), outcomes_b.mean()))
    assert (result.n, result.num_seeds) == (7, 3)
    assert (result.gained, result.lost) == ((outcomes_a > outcomes_b).sum(), (outcomes_a < outcomes_b).sum())


def test_repeating_one_seed_adds_no_certainty():
    a, b = paired_arms(gained=14, lost=5, both=20, neither=21)
    once, thrice = compare(a, b), pooled([(a, b)] * 3)
    assert thrice.interval == pytest.approx(once.interval, abs=0.02)
    assert np.ptp(thrice.interval) >= np.ptp(once.interval)
    assert thrice.p_value == pytest.approx(once.p_value)
    assert thrice.difference == pytest.approx(once.difference)


def test_interval_agrees_with_scipys_paired_bootstrap():
    from scipy.stats import bootstrap

    a, b = paired_arms(gained=60, lost=25, both=100, neither=115)
    x, y = ([p.correct for p in predictions] for predictions in (a, b))
    expected = bootstrap(
        (np.array(x, float), np.array(y, float)),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=20_000,
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert compare(a, b, num_resamples=20_000).interval == pytest.approx(tuple(expected), abs=1.5 / 300)


def test_interval_approaches_the_normal_one_for_many_items():
    gained, lost, n = 3000, 2500, 20_000
    a, b = paired_arms(gained=gained, lost=lost, both=7000, neither=n - 7000 - gained - lost)
    difference = (gained - lost) / n
    half_width = 1.959964 * np.sqrt(((gained + lost) / n - difference**2) / n)
    result = compare(a, b)
    assert result.difference == pytest.approx(difference)
    assert result.interval == pytest.approx((difference - half_width, difference + half_width), abs=half_width / 15)


def test_swapping_the_arms_mirrors_the_result():
    a, b = paired_arms(gained=30, lost=12, both=40, neither=18)
    forth, back = compare(a, b, names=("cot", "base")), compare(b, a, names=("base", "cot"))
    assert (forth.a, forth.b, back.a, back.b) == ("cot", "base", "base", "cot")
    assert (forth.gained, forth.lost, forth.difference) == (back.lost, back.gained, -back.difference)
    assert forth.p_value == back.p_value
    assert forth.interval == pytest.approx((-back.interval[1], -back.interval[0]), abs=0.021)


def test_the_order_of_predictions_does_not_matter_and_the_seed_does_not_wander():
    a, b = paired_arms(gained=30, lost=12, both=40, neither=18)
    assert compare(a, b, seed=3) == compare(a, list(reversed(b)), seed=3)


@pytest.mark.parametrize("outcomes", [[1] * 5, [0] * 5, [1, 0, 1, 1, 0], [1]])
def test_equal_arms_differ_by_nothing(outcomes):
    result = compare(arm(outcomes), arm(outcomes))
    assert (result.difference, result.interval, result.p_value) == (0.0, (0.0, 0.0), 1.0)
    assert (result.gained, result.lost) == (0, 0)


def rejection_rate(num_simulations: int, *, n: int, agreement: float) -> float:
    """How often p <= 0.05 where both arms are right equally often, agreeing on a share of the items."""
    random = np.random.default_rng(7)
    rejections = 0
    for _ in range(num_simulations):
        common, own_a, own_b = random.random((3, n)) < 0.6
        agrees = random.random(n) < agreement
        a, b = np.where(agrees, common, own_a), np.where(agrees, common, own_b)
        rejections += compare(arm(a), arm(b), num_resamples=1).p_value <= 0.05
    return rejections / num_simulations


def test_a_true_null_is_rejected_no_more_often_than_promised():
    standard_error = np.sqrt(0.05 * 0.95 / 500)
    assert rejection_rate(500, n=60, agreement=0.4) <= 0.05 + 3 * standard_error


@pytest.mark.slow
@pytest.mark.full
def test_the_interval_covers_the_true_difference_as_often_as_promised():
    random = np.random.default_rng(11)
    num_simulations, n, truth = 2000, 300, 0.7 - 0.55
    covered = 0
    for simulation in range(num_simulations):
        difficulty = random.random(n)
        low, high = compare(arm(difficulty < 0.7), arm(random.random(n) < 0.55), seed=simulation).interval
        covered += low <= truth <= high
    assert covered / num_simulations == pytest.approx(0.95, abs=0.02)


def with_p_value(p_value: float) -> ComparisonResult:
    return ComparisonResult("a", "b", 10, 0.5, 0.4, 0.1, (0.0, 0.2), p_value, gained=1, lost=0)


@pytest.mark.parametrize(
    "p_values", [[], [0.03], [0.04, 0.01, 0.03, 0.005], [0.5, 0.6, 0.01], [0.02, 0.02, 1.0], [0.9, 0.9]]
)
def test_holm_is_that_of_statsmodels(p_values):
    from statsmodels.stats.multitest import multipletests

    expected = multipletests(p_values, method="holm")[1] if p_values else []
    results = [with_p_value(p_value) for p_value in p_values]
    adjusted = holm(results)
    assert [result.adjusted_p_value for result in adjusted] == pytest.approx(list(expected))
    assert [result.p_value for result in adjusted] == p_values


def test_different_items_are_refused_with_counts_never_intersected():
    full, short = arm([1, 0, 1, 0, 1]), arm([1, 0, 1])
    with pytest.raises(DataError, match="2 missing from student, 0 missing from base"):
        compare(short, full, names=("student", "base"))
    others = [prediction(f"other-{number}", True) for number in range(4)]
    with pytest.raises(DataError, match="4 missing from a, 3 missing from b"):
        compare(short, others)


def test_the_same_id_in_another_task_is_another_item():
    with pytest.raises(DataError, match="1 missing from a, 1 missing from b"):
        compare([prediction("1", True, task="sums")], [prediction("1", True, task="dates")])


def test_different_gold_answers_are_refused():
    with pytest.raises(DataError, match="gold answers of id '1' of task sums differ: '4' and '5'"):
        compare([prediction("1", True)], [prediction("1", True, answer="5")])


def test_pooled_seeds_must_hold_the_same_items():
    with pytest.raises(DataError, match=r"missing from cot \(pair 1\)"):
        pooled([(arm([1, 0]), arm([0, 0])), (arm([1]), arm([0]))], names=("cot", "base"))


def test_duplicates_are_refused():
    twice = [prediction("17", True), prediction("17", False)]
    for call in (lambda: score(twice), lambda: compare(twice, arm([1])), lambda: compare(arm([1]), twice)):
        with pytest.raises(DataError, match="id '17' of task sums occurs twice"):
            call()


def test_nothing_to_score_is_refused():
    calls = (lambda: score([]), lambda: compare([], []), lambda: pooled([]), lambda: wilson_interval(0, 0))
    for call in calls:
        with pytest.raises(DataError, match=r"no predictions|at least one prediction"):
            call()
