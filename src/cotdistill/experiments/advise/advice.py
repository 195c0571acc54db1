"""Advice as a record, and in words."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from cotdistill.experiments.advise.halving import Price, Size


@dataclass(frozen=True, slots=True)
class ArmScore:
    """How the student scores an arm's rationales before training, and what the arm will cost in full.

    ``rank_surprisal`` covers all scored rationales together, ``verified`` is the share of them without a fault,
    ``num_words`` is a mean; all are None for an arm without rationales. ``cost`` is that of scoring.
    """

    name: str
    rank_surprisal: float | None
    verified: float | None
    num_words: float | None
    price: Price
    cost: float


@dataclass(frozen=True, slots=True)
class Rung:
    """Pilots of one size: accuracies by arm (the best first), on ``num_test`` questions, and what they cost."""

    size: Size
    num_test: int
    accuracies: dict[str, float]
    cost: float


@dataclass(frozen=True, slots=True)
class Advice:
    """``chosen`` is the arm to use. Costs are in the unit of ``halving.py``; ``grid_cost`` is that of all arms and
    seeds, measured if ``grid_done`` and otherwise estimated from the scored rationales; ``budget`` is a share of the
    estimate.

    ``regret_bound`` bounds, at 95 %, how much more accurate than the chosen arm another arm of the last rung is, at the
    size of its pilots. It says nothing about arms eliminated earlier: small pilots favour what is learnt fast.
    ``untried`` are the arms that the score eliminated. If the grid is done, ``accuracies`` are those in full.
    """

    experiment: str
    student: str
    chosen: str
    factors: dict[str, Any]
    scores: tuple[ArmScore, ...]
    untried: tuple[str, ...]
    rungs: tuple[Rung, ...]
    regret_bound: float
    budget: float
    cost: float
    grid_cost: float
    accuracies: dict[str, float]

    @property
    def grid_done(self) -> bool:
        return bool(self.accuracies)

    @property
    def regret(self) -> float | None:
        """How much more accurate the grid's best arm is than the chosen one; None if the grid is not done."""
        return max(self.accuracies.values()) - self.accuracies[self.chosen] if self.accuracies else None

    def to_row(self) -> dict[str, Any]:
        row = asdict(self)
        return row | {"share": self.cost / self.grid_cost, "grid_done": self.grid_done, "regret": self.regret}


def advice_lines(advice: Advice) -> list[str]:
    """The advice and its evidence in words."""
    share = advice.cost / advice.grid_cost
    basis = "measured" if advice.grid_done else "estimated"
    lines = [f"for {advice.student}, use {advice.chosen}"]
    lines.append(f"found at {share:.1%} of the cost of the grid ({basis}); scored {len(advice.scores)} arms")
    lines += [_score_line(score) for score in advice.scores]
    for number, rung in enumerate(advice.rungs, 1):
        found = ", ".join(f"{name} {accuracy:.1%}" for name, accuracy in rung.accuracies.items())
        lines.append(f"rung {number} ({rung.size.train:.1%} of the training, {rung.num_test} questions): {found}")
    bound = f"another arm of the last rung is at most {100 * advice.regret_bound:.1f} points better"
    lines.append(f"{bound} at its size (95 %); for the other arms this is unknown")
    lines.append(
        "the arm is chosen on test questions, so its accuracy on them is slightly too high; report it on others"
    )
    if advice.untried:
        lines.append(f"eliminated by the score, not tried: {', '.join(advice.untried)}")
    if advice.regret is not None:
        best = max(advice.accuracies, key=lambda name: advice.accuracies[name])
        at = f"{advice.accuracies[advice.chosen]:.1%} against {advice.accuracies[best]:.1%} of {best}"
        lines.append(f"in full {at}: {100 * advice.regret:.1f} points from the best")
    return lines


def _score_line(score: ArmScore) -> str:
    if score.rank_surprisal is None:
        return f"  {score.name}: no rationales to score"
    words = f"{score.verified or 0:.0%} verified, {score.num_words or 0:.0f} words"
    return f"  {score.name}: rank-surprisal ratio {score.rank_surprisal:.2f}, {words}"
