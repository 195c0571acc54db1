"""What ``cotdistill power`` says, in points and percent, as accuracies are usually given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cotdistill.errors import ConfigError

if TYPE_CHECKING:
    from cotdistill.evaluation.statistics.comparisons import ComparisonResult
    from cotdistill.evaluation.statistics.items import Pairs
    from cotdistill.evaluation.statistics.seeds import Variance

Rows = dict[str, dict[str, Any]]


def power_rows(
    evaluations: Sequence[Path],
    difference: float | None,
    discordant: float | None,
    items: int | None,
    spread: float | None,
) -> Rows:
    """Questions needed, and seeds needed. ``evaluations`` alternate between arm a and arm b, one pair per seed.

    They supply what is None; ``spread`` only if there are several pairs. Without several pairs, the number of seeds
    comes from a given ``spread`` alone and is a lower bound: how arms differ on single questions is unknown. Raises
    ConfigError if too little is given to say anything, and for an odd number of evaluations.
    """
    from cotdistill.evaluation.statistics import power

    if len(evaluations) % 2:
        remedy = "alternate the arms, one evaluation of each for every seed: A0 B0 A1 B1"
        raise ConfigError(f"{len(evaluations)} evaluations cannot be paired", where="power", remedy=remedy)
    pairs, found = _read(evaluations)
    asked = [] if difference is None else [difference]
    if found is not None:
        difference = round(100 * found.difference, 2) if difference is None else difference
        differing = found.gained + found.lost
        discordant = round(100 * differing / found.n / found.num_seeds, 2) if discordant is None else discordant
        items = items or found.n
    rows: Rows = {}
    if difference is not None and discordant is not None:
        shown, share = difference / 100, discordant / 100
        row = {"difference": difference, "discordant": discordant, "items_needed": power.items_needed(shown, share)}
        if items:
            row |= {"items": items, "power": round(100 * power.power(shown, share, items), 1)}
        rows["power"] = row | _over_tasks(pairs)
    variance, exact = _variance(found, pairs, spread)
    if variance is not None:
        rows["seeds needed" if exact else "seeds needed at least"] = _seeds(variance, asked)
    if not rows:
        remedy = "name evaluations, or give --difference and --discordant, or --spread"
        raise ConfigError("a difference and the share of discordant questions are needed", where="power", remedy=remedy)
    return rows


def _read(evaluations: Sequence[Path]) -> tuple[Pairs, ComparisonResult | None]:
    from cotdistill.evaluation.read import read_evaluation
    from cotdistill.evaluation.statistics.comparisons import pooled

    if not evaluations:
        return [], None
    read = [read_evaluation(path).predictions for path in evaluations]
    pairs = list(zip(read[0::2], read[1::2], strict=True))
    return pairs, pooled(pairs, names=(evaluations[0].name, evaluations[1].name))


def _over_tasks(pairs: Pairs) -> dict[str, Any]:
    """The mean of the tasks' differences, with tasks resampled, if there are several."""
    from cotdistill.evaluation.statistics.over_tasks import compare_over_tasks

    if not pairs or (found := compare_over_tasks(pairs)).num_tasks == 1:
        return {}
    return {
        "difference_over_tasks": round(100 * found.difference, 2),
        "interval_over_tasks": [round(100 * bound, 2) for bound in found.interval],
        "tasks": found.num_tasks,
    }


def _variance(found: ComparisonResult | None, pairs: Pairs, spread: float | None) -> tuple[Variance | None, bool]:
    """How a difference varies with the seed, and whether that was measured; a given ``spread`` takes precedence."""
    from cotdistill.evaluation.statistics.items import joined_outcomes
    from cotdistill.evaluation.statistics.seeds import Variance, variance_of

    if spread is None:
        return (None, False) if found is None else (found.variance, True)
    if spread <= 0:
        raise ConfigError(f"{spread:g} is not a spread", where="--spread", remedy="give a number of points above 0")
    over_items = variance_of(joined_outcomes(pairs, ("a", "b"))[:, :1], (1, -1)).items if pairs else 0.0
    num_items = float("inf") if found is None else found.n
    return Variance(2 * (spread / 100) ** 2, over_items, 0.0, 2.0, num_items), False


def _seeds(variance: Variance, asked: Sequence[float]) -> dict[str, Any]:
    from cotdistill.evaluation.statistics.comparisons import POINTS

    counts = {points: variance.seeds_needed(points / 100) for points in sorted({*POINTS, *map(abs, asked)} - {0})}
    told = {f"{points:g} points": count or "more questions" for points, count in counts.items()}
    return {"spread": round(100 * variance.spread, 2)} | told
