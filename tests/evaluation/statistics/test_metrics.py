"""Metrics of several samples against their definitions, enumerated, and intervals against simulation."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from cotdistill.errors import DataError
from cotdistill.evaluation.statistics.comparisons import compare, pooled
from cotdistill.evaluation.statistics.metrics import (
    fraction_interval,
    metric_of_seeds,
    metric_score,
    metric_scores,
    metric_values,
    shown_metrics,
)
from cotdistill.evaluation.statistics.proportions import wilson_interval
from cotdistill.records import Prediction, Tally

TALLIES = [
    Tally(5, 2, (2, 1)),
    Tally(6, 2, (2, 2)),
    Tally(6, 3, (1, 1)),
    Tally(6, 0, (3,)),
    Tally(6, 1, (1, 1, 1, 1)),
    Tally(5, 5),
    Tally(4, 0),
]


def prediction(tally: Tally, id_: str = "q") -> Prediction:
    """A question with these samples; its own verdict is that of the largest group."""
    right = tally.num_correct and tally.num_correct >= max(tally.wrong_votes, default=0)
    return Prediction(id_, "t", "4", "x", None, "correct" if right else "wrong", 1, 1, tally)


def value_of(one: Prediction, metric: str) -> float:
    (value,) = metric_values([one], metric)
    return value


def answers(tally: Tally) -> list[str | None]:
    wrong = [f"wrong {group}" for group, size in enumerate(tally.wrong_votes) for _ in range(size)]
    silent = tally.num_samples - tally.num_correct - len(wrong)
    return ["right"] * tally.num_correct + wrong + [None] * silent


def voted(drawn: tuple[str | None, ...]) -> str | None:
    """As an evaluation votes: the commonest answer, of several the one given first."""
    stated = [answer for answer in drawn if answer is not None]
    return max(stated, key=stated.count) if stated else None


@pytest.mark.parametrize("tally", TALLIES)
def test_each_metric_is_the_mean_over_all_draws_of_k_samples_in_all_orders(tally):
    """In exact arithmetic, over every ordered draw without replacement."""
    for k in range(1, tally.num_samples + 1):
        draws = list(itertools.permutations(answers(tally), k))
        expected = {
            "pass": Fraction(sum("right" in drawn for drawn in draws), len(draws)),
            "avg": Fraction(sum(drawn.count("right") for drawn in draws), k * len(draws)),
            "maj": Fraction(sum(voted(drawn) == "right" for drawn in draws), len(draws)),
        }
        for kind, value in expected.items():
            assert value_of(prediction(tally), f"{kind}@{k}") == pytest.approx(float(value), abs=1e-15), (kind, k)


def test_pass_at_k_is_the_papers_product_for_many_samples():
    """Chen et al. compute 1 - prod(1 - k / (n - c + 1 ...)) (their figure 3); 1 where fewer than k are wrong."""
    n, c, k = 200, 13, 100
    product = math.prod(1 - k / place for place in range(n - c + 1, n + 1))
    assert value_of(prediction(Tally(n, c)), f"pass@{k}") == pytest.approx(1 - product, rel=1e-12)
    assert value_of(prediction(Tally(200, 101)), "pass@100") == 1.0
    assert 0 < value_of(prediction(Tally(2000, 1)), "maj@1000") < 1


def test_a_metric_of_more_samples_than_there_are_is_refused():
    with pytest.raises(DataError, match=r"pass@9 needs 9 samples, but question 'q' has 5; set evaluation.num_samples"):
        value_of(prediction(TALLIES[0]), "pass@9")
    single = Prediction("q", "t", "4", "x", "4", "correct", 1, 1)
    assert [value_of(single, metric) for metric in ("accuracy", "pass@1", "avg@1", "maj@1")] == [1.0] * 4


def test_a_summary_shows_what_the_samples_allow():
    assert shown_metrics(1) == []
    assert shown_metrics(6) == ["avg@6", "pass@2", "pass@4", "pass@6", "maj@4", "maj@6"]
    found = metric_scores([prediction(tally, str(place)) for place, tally in enumerate(TALLIES)])
    assert list(found) == ["avg@4", "pass@2", "pass@4", "maj@4"]
    assert found["avg@4"].value == pytest.approx(sum(t.num_correct / t.num_samples for t in TALLIES) / 7)
    assert found["pass@2"].samples_error is None


@pytest.mark.parametrize("right", [0, 3, 10])
def test_the_interval_of_zeros_and_ones_is_wilsons(right):
    values = np.array([1.0] * right + [0.0] * (10 - right))
    assert fraction_interval(values, 8) == pytest.approx(wilson_interval(right, 10))


@pytest.mark.parametrize(("items", "samples", "spread"), [(30, 4, 0.0), (30, 16, 1.0), (200, 4, 0.4)])
def test_intervals_of_avg_cover_the_truth_over_new_items_and_samples(items, samples, spread):
    """Items' own chances are drawn from a beta distribution around 30 %, from all alike to all or nothing."""
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(1000):
        chances = np.full(items, 0.3)
        if spread:
            size = max(1e-9, 1 / spread - 1)
            chances = random.beta(0.3 * size, 0.7 * size, items)
        low, high = fraction_interval(random.binomial(samples, chances) / samples, samples)
        covered += low <= 0.3 <= high
    assert 0.92 <= covered / 1000 <= 0.98


def test_the_error_of_samples_alone_is_that_of_drawing_them_again():
    random = np.random.default_rng(1)
    chances = random.uniform(size=40)

    def drawn() -> list[Prediction]:
        return [prediction(Tally(8, int(c)), str(i)) for i, c in enumerate(random.binomial(8, chances))]

    scores = [metric_score(drawn(), "avg@8") for _ in range(300)]
    observed = np.std([score.value for score in scores])
    assert np.mean([score.samples_error for score in scores]) == pytest.approx(observed, rel=0.1)


def arm(counts: list[int], n: int = 4) -> list[Prediction]:
    return [prediction(Tally(n, count, (n - count,) if count < n else ()), str(i)) for i, count in enumerate(counts)]


def test_a_comparison_may_name_its_metric():
    """The p is that of flipping the sign of each item's difference, enumerated."""
    a, b = arm([4, 3, 1, 2, 4, 1, 0, 3, 4, 2]), arm([2, 3, 0, 2, 1, 2, 0, 1, 4, 1])
    found = pooled([(a, b)], metric="avg@4")
    differences = [(one.tally.num_correct - two.tally.num_correct) / 4 for one, two in zip(a, b, strict=True)]
    sums = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in itertools.product((1, -1), repeat=10)
    ]
    assert found.difference == pytest.approx(sum(differences) / 10)
    assert found.p_value == pytest.approx(np.mean([one >= sum(differences) - 1e-9 for one in sums]))
    assert found.interval[0] <= found.difference <= found.interval[1]
    assert (found.metric, found.gained, found.lost) == ("avg@4", 5, 1)
    assert compare(a, b).metric == "accuracy"
    with pytest.raises(DataError, match="pass@5 needs 5 samples"):
        pooled([(a, b)], metric="pass@5")


def test_many_items_are_compared_quickly_and_alike():
    """The convolution of a large benchmark, against the normal distribution of the sum."""
    random = np.random.default_rng(2)
    a, b = (arm(random.binomial(16, chance, 4000).tolist(), 16) for chance in (0.41, 0.4))
    found = pooled([(a, b)], metric="pass@4")
    values = np.array([value_of(x, "pass@4") - value_of(y, "pass@4") for x, y in zip(a, b, strict=True)])
    z = abs(values.sum()) / math.sqrt(float(np.square(values).sum()))
    assert found.p_value == pytest.approx(math.erfc(z / math.sqrt(2)), abs=0.02)


def test_over_seeds_the_mean_and_its_interval_are_of_all_of_them():
    seeds = [arm([4, 3, 1, 0] * 20), arm([3, 3, 0, 0] * 20)]
    found, (one, other) = metric_of_seeds(seeds, "avg@4"), (metric_score(each, "avg@4") for each in seeds)
    assert found.value == pytest.approx((one.value + other.value) / 2)
    assert found.interval[1] - found.interval[0] > one.interval[1] - one.interval[0]
    several = pooled([(seeds[0], seeds[1]), (seeds[0], seeds[1])], metric="pass@2")
    assert several.variance is not None
    assert several.difference == pytest.approx(
        metric_score(seeds[0], "pass@2").value - metric_score(seeds[1], "pass@2").value
    )


def test_samples_survive_the_way_to_disk_and_one_sample_says_nothing_of_them():
    several = prediction(TALLIES[0])
    assert several.to_row()["num_samples"] == 5
    assert Prediction.from_row(several.to_row()) == several
    single = Prediction("q", "t", "4", "x", "4", "correct", 1, 1)
    assert "num_samples" not in single.to_row()
    assert Prediction.from_row(single.to_row()) == single
