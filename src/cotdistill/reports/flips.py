"""Where one evaluation gains and loses against another, as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cotdistill.evaluation.diagnosis.flips import TaskFlips
from cotdistill.evaluation.statistics.comparisons import ComparisonResult, holm
from cotdistill.reports.tables import Column, Table, comparison_table


def flips_tables(comparison: ComparisonResult, tasks: Sequence[TaskFlips]) -> list[Table]:
    """The difference on all items, and a row per task, from the one that gains most to the one that loses most.

    ``tasks`` and ``comparison`` are of the same two evaluations, a and b.
    """
    columns = (
        Column("task"),
        Column("n", "number"),
        Column("gained", "number"),
        Column("lost", "number"),
        Column("p (Holm)", "p"),
        Column("b's failures"),
        Column("a's failures"),
    )
    ordered = sorted(tasks, key=lambda task: task.lost - task.gained)
    rows = tuple(
        (t.task, t.n, t.gained, t.lost, t.adjusted_p_value, _most(t.failures_of_gained), _most(t.failures_of_lost))
        for t in ordered
    )
    flips = Table("flips", "Where a gains and loses against b", columns, rows)
    return [table for table in (comparison_table(holm([comparison])), flips) if table]


def _most(failures: Mapping[str, int]) -> str:
    """The commonest failure and its count: a terminal has no room for more."""
    if not failures:
        return ""
    failure, count = max(failures.items(), key=lambda pair: pair[1])
    return f"{failure} {count}"
