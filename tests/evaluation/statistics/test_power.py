"""Power against simulation and enumeration, the tests' behaviour under simulated nulls, clustered intervals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.stages import finished_evaluation

from cotdistill.cli.power import power_rows
from cotdistill.errors import ConfigError
from cotdistill.evaluation.statistics.comparisons import compare, pooled
from cotdistill.evaluation.statistics.power import items_needed, power, seeds_needed
from cotdistill.records import Prediction, Question


def arm(outcomes, task: str = "t") -> list[Prediction]:
    return [
        Prediction(str(i), task, "4", "text", None, "correct" if right else "wrong", 1, 1)
        for i, right in enumerate(outcomes)
    ]


def simulate(num_simulations: int, num_items: int, gained: float, lost: float, seed: int) -> float:
    """The share of simulated experiments in which ``compare`` finds p < 0.05."""
    draws = np.random.default_rng(seed)
    found = 0
    for _ in range(num_simulations):
        change = draws.choice([1, -1, 0], size=num_items, p=[gained, lost, 1 - gained - lost])
        base = draws.random(num_items) < 0.5
        a = np.where(change == 1, True, np.where(change == -1, False, base))
        b = np.where(change == 1, False, np.where(change == -1, True, base))
        found += compare(arm(a), arm(b), num_resamples=2).p_value < 0.05
    return found / num_simulations


def test_power_is_the_enumerated_share_of_significant_outcomes():
    from scipy.stats import binomtest, multinomial

    num_items, difference, discordant = 12, 0.5, 0.7
    gained, lost = (discordant + difference) / 2, (discordant - difference) / 2
    expected = sum(
        multinomial.pmf([up, down, num_items - up - down], num_items, [gained, lost, 1 - discordant])
        for up in range(num_items + 1)
        for down in range(num_items + 1 - up)
        if up + down and binomtest(up, up + down).pvalue < 0.05
    )
    assert power(difference, discordant, num_items) == pytest.approx(expected, rel=1e-9)
    assert power(-difference, discordant, num_items) == pytest.approx(expected, rel=1e-9)


def test_simulated_effects_are_found_with_the_power_predicted():
    predicted = power(0.08, 0.2, 250)
    assert 0.6 < predicted < 0.95
    assert simulate(300, 250, 0.14, 0.06, seed=1) == pytest.approx(predicted, abs=4 * 0.5 / 300**0.5)


def test_a_simulated_null_is_rejected_no_more_often_than_the_level():
    predicted = power(0.0, 0.3, 200)  # an exact test on counts stays a little below its level
    assert 0.02 < predicted <= 0.05
    assert simulate(300, 200, 0.15, 0.15, seed=2) == pytest.approx(predicted, abs=4 * (0.05 * 0.95 / 300) ** 0.5)


@pytest.mark.slow
@pytest.mark.full
def test_two_thousand_simulated_nulls_reject_at_the_nominal_rate():
    rate = simulate(2000, 1500, 0.2, 0.2, seed=3)
    assert 0.04 <= rate <= 0.06
    assert simulate(2000, 400, 0.14, 0.06, seed=4) == pytest.approx(power(0.08, 0.2, 400), abs=0.03)


@pytest.mark.parametrize(("difference", "discordant"), [(0.02, 0.1), (0.05, 0.2), (0.1, 0.3)])
def test_items_needed_reach_the_power_and_fewer_do_not(difference, discordant):
    num = items_needed(difference, discordant)
    assert power(difference, discordant, num) >= 0.8 > power(difference, discordant, int(0.97 * num))
    assert items_needed(difference, discordant, wanted=0.95) > num


def test_seeds_needed_are_those_of_statsmodels():
    from statsmodels.stats.power import TTestIndPower

    for difference, spread in ((0.03, 0.01), (0.01, 0.02)):
        expected = TTestIndPower().solve_power(difference / spread, alpha=0.05, power=0.8)
        assert seeds_needed(difference, spread) == int(np.ceil(expected))


def test_impossible_questions_are_refused():
    with pytest.raises(ConfigError, match="accuracies cannot differ by 30 points if 20 % of the items differ"):
        power(0.3, 0.2, 100)
    with pytest.raises(ConfigError, match="no number of items can show a difference of 0"):
        items_needed(0.0, 0.2)
    with pytest.raises(ConfigError, match="more than 1,000,000 items"):
        items_needed(0.0001, 0.5)
    with pytest.raises(ConfigError, match="needs no seeds or infinitely many"):
        seeds_needed(0.1, 0.0)


def stored(folder: Path, predictions: list[Prediction]) -> Path:
    questions = [Question(p.id, p.task, "test", "?", p.answer, "number") for p in predictions]
    return finished_evaluation(folder, questions, predictions)


def test_two_evaluations_say_what_a_larger_test_needs(tmp_path: Path) -> None:
    a = stored(tmp_path / "a", [*arm([1] * 60 + [0] * 40), *arm([1] * 50 + [0] * 50, task="u")])
    b = stored(tmp_path / "b", [*arm([1] * 40 + [0] * 60), *arm([0] * 10 + [1] * 50 + [0] * 40, task="u")])
    rows = power_rows([a, b], None, None, None, None)
    assert list(rows) == ["power"], "one pair tells nothing of seeds"
    row = rows["power"]
    assert (row["difference"], row["discordant"], row["items"]) == (10.0, 20.0, 200)
    assert row["items_needed"] == items_needed(0.1, 0.2)
    assert row["power"] == pytest.approx(100 * power(0.1, 0.2, 200), abs=0.1)
    assert (row["difference_over_tasks"], row["tasks"]) == (10.0, 2)
    assert power_rows([a, b], 5.0, None, 900, None)["power"]["power"] == pytest.approx(
        100 * power(0.05, 0.2, 900), abs=0.1
    )


def test_pairs_of_several_seeds_say_how_many_seeds_are_needed(tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    arms = [arm(draws.random(400) < share) for share in (0.55, 0.5, 0.61, 0.49, 0.5, 0.51)]
    folders = [stored(tmp_path / f"e{place}", predictions) for place, predictions in enumerate(arms)]
    found = pooled(list(zip(arms[0::2], arms[1::2], strict=True)))
    row = power_rows(folders, 10.0, None, None, None)["seeds needed"]
    assert found.variance is not None
    assert row == {"spread": round(100 * found.variance.spread, 2)} | {
        f"{points} points": found.seeds_needed(points / 100) for points in (3, 5, 7, 10)
    }
    with pytest.raises(ConfigError, match="3 evaluations cannot be paired"):
        power_rows(folders[:3], None, None, None, None)


def test_a_spread_says_how_many_seeds_are_needed_at_least(tmp_path: Path) -> None:
    rows = power_rows([], None, None, None, 3.0)
    assert rows == {
        "seeds needed at least": {"spread": 3.0}
        | {f"{points} points": seeds_needed(points / 100, 0.03) for points in (3, 5, 7)}
    }
    draws = np.random.default_rng(0)
    pair = [stored(tmp_path / name, arm(draws.random(50) < 0.5)) for name in "ab"]
    few = power_rows(pair, None, None, None, 3.0)["seeds needed at least"]
    assert few["5 points"] > rows["seeds needed at least"]["5 points"], "so few questions spread more by themselves"
    with pytest.raises(ConfigError, match="0 is not a spread"):
        power_rows([], None, None, None, 0.0)


def test_the_power_command_needs_a_difference_and_how_often_arms_disagree() -> None:
    rows = power_rows([], 3.0, 15.0, None, None)
    assert rows == {"power": {"difference": 3.0, "discordant": 15.0, "items_needed": items_needed(0.03, 0.15)}}
    with pytest.raises(ConfigError, match="--difference and --discordant, or --spread"):
        power_rows([], 3.0, None, None, None)
