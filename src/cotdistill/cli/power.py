"""What ``cotdistill power`` says: in points and percent, as people speak of accuracies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cotdistill.errors import ConfigError


def power_row(
    a: Path | None,
    b: Path | None,
    difference: float | None,
    discordant: float | None,
    items: int | None,
    spread: float | None,
) -> dict[str, Any]:
    """Questions and seeds needed. ``a`` and ``b`` are evaluations, which give what is None but for ``spread``.

    Raises ConfigError where difference or discordant are given by neither.
    """
    from cotdistill.evaluation.statistics import power

    observed: dict[str, Any] = {}
    if a is not None and b is not None:
        observed = _observed(a, b)
        difference = observed["difference"] if difference is None else difference
        discordant = observed["discordant"] if discordant is None else discordant
        items = items or observed["items"]
    if difference is None or discordant is None or (a is not None and b is None):
        remedy = "name two evaluations, or give --difference and --discordant"
        raise ConfigError("a difference and how often the arms disagree are needed", where="power", remedy=remedy)
    shown, differing = difference / 100, discordant / 100
    row = {"difference": difference, "discordant": discordant, "items_needed": power.items_needed(shown, differing)}
    if items:
        row |= {"items": items, "power": round(100 * power.power(shown, differing, items), 1)}
    if spread is not None:
        row["seeds_needed"] = power.seeds_needed(shown, spread / 100)
    return row | {key: value for key, value in observed.items() if key not in row}


def _observed(a: Path, b: Path) -> dict[str, Any]:
    """Two evaluations: their difference, and the mean of their tasks' with tasks drawn anew where there are several."""
    from cotdistill.evaluation.read import read_evaluation
    from cotdistill.evaluation.statistics.comparisons import compare
    from cotdistill.evaluation.statistics.power import compare_over_tasks

    pair = (read_evaluation(a).predictions, read_evaluation(b).predictions)
    found, over_tasks = compare(*pair, names=(a.name, b.name)), compare_over_tasks([pair])
    row = {
        "difference": round(100 * found.difference, 2),
        "discordant": round(100 * (found.gained + found.lost) / found.n, 2),
        "items": found.n,
    }
    if over_tasks.num_tasks == 1:
        return row
    low, high = over_tasks.interval
    return row | {
        "difference_over_tasks": round(100 * over_tasks.difference, 2),
        "interval_over_tasks": [round(100 * low, 2), round(100 * high, 2)],
        "tasks": over_tasks.num_tasks,
    }
