"""The tables of results: values with a kind for each column, and how each kind is written for people.

Names and questions come from the user's files, so they are made harmless where they are shown: no control characters
in the terminal, no markup on the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cotdistill.evaluation.statistics.averages import by_group
from cotdistill.evaluation.statistics.comparisons import POINTS, ComparisonResult
from cotdistill.records import ACCURACY
from cotdistill.reports.evidence import Arm, Evidence
from cotdistill.reports.texts import markdown_text

Kind = Literal["arm", "label", "code", "number", "percent", "points", "interval", "p"]
"""What a column holds: an arm's name; words; what is typed in a shell; a plain number; a fraction shown as percent; a
signed difference of fractions shown in percentage points; a pair of such bounds; a p-value."""


@dataclass(frozen=True, slots=True)
class Column:
    heading: str
    kind: Kind = "label"

    @property
    def is_words(self) -> bool:
        return self.kind in ("arm", "label", "code")


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its raw values, row by row; fractions stay fractions until they are shown."""

    name: str
    title: str
    columns: tuple[Column, ...]
    values: tuple[tuple[Any, ...], ...]

    @property
    def headings(self) -> tuple[str, ...]:
        return tuple(column.heading for column in self.columns)

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """All cells as text."""
        return tuple(
            tuple(shown(value, column.kind) for value, column in zip(row, self.columns, strict=True))
            for row in self.values
        )


def score_table(evidence: Evidence) -> Table | None:
    """One row per arm: accuracy and interval, and the counts of the four verdicts; None if no arm has a score."""
    if not evidence.arms:
        return None
    counts = ("n", "correct", "wrong", "unreadable", "truncated")
    several = any(arm.num_seeds > 1 for arm in evidence.arms.values())
    seeds = (Column("seeds", "number"), Column("seeds' range", "interval")) if several else ()
    columns = (
        Column("arm", "arm"),
        Column("accuracy", "percent"),
        Column("95 % interval", "interval"),
        *seeds,
        *(Column(name, "number") for name in counts),
    )

    def row(name: str, arm: Arm) -> tuple[Any, ...]:
        score = arm.score
        verdicts = (getattr(score, count) for count in counts)
        return (name, score.accuracy, score.interval, *(_seeds(arm) if seeds else ()), *verdicts)

    return Table("scores", "Accuracy", columns, tuple(row(name, arm) for name, arm in evidence.arms.items()))


def _seeds(arm: Arm) -> tuple[int, tuple[float, float] | None]:
    """How many seeds there are, and the lowest and highest accuracy among them."""
    found = arm.seed_accuracies() if arm.num_seeds > 1 else []
    return arm.num_seeds, (min(found), max(found)) if found else None


def metric_table(evidence: Evidence) -> Table | None:
    """One row per arm and metric of several samples: its mean and interval; None if every question has one sample."""
    found = {name: arm.metrics() for name, arm in evidence.arms.items()}
    rows = tuple(
        (name, metric, score.value, score.interval, score.samples_error and 100 * score.samples_error)
        for name, metrics in found.items()
        for metric, score in metrics.items()
    )
    columns = (
        Column("arm", "arm"),
        Column("metric"),
        Column("mean", "percent"),
        Column("95 % interval", "interval"),
        Column("error of samples alone (points)", "number"),
    )
    return Table("metrics", "Several samples of each question", columns, rows) if rows else None


def comparison_table(comparisons: Sequence[ComparisonResult]) -> Table | None:
    """One row per comparison; None if nothing was compared."""
    if not comparisons:
        return None
    metrics = {c.metric for c in comparisons} != {ACCURACY}
    columns = (
        Column("a", "arm"),
        Column("b", "arm"),
        *((Column("metric"),) if metrics else ()),
        Column("a - b (points)", "points"),
        Column("95 % interval", "interval"),
        Column("p", "p"),
        Column("p (Holm)", "p"),
    )
    rows = (
        (c.a, c.b, *((c.metric,) if metrics else ()), c.difference, c.interval, c.p_value, c.adjusted_p_value)
        for c in comparisons
    )
    return Table("comparisons", "Comparisons", columns, tuple(rows))


def seeds_table(comparisons: Sequence[ComparisonResult]) -> Table | None:
    """How far seeds spread and how many would show a difference, a row for each comparison over several seeds.

    None if there is no such comparison.
    """
    found = [(compared, compared.variance) for compared in comparisons if compared.variance is not None]
    if not found:
        return None
    columns = (
        Column("a", "arm"),
        Column("b", "arm"),
        Column("seeds", "number"),
        Column("spread (points)", "number"),
        Column("p, items alone", "p"),
        *(Column(f"for {points} points", "number") for points in POINTS),
    )
    rows = (
        (c.a, c.b, c.num_seeds, 100 * variance.spread, c.items_p_value, *(_needed(c, points) for points in POINTS))
        for c, variance in found
    )
    return Table("seeds", "How many seeds would show a difference", columns, tuple(rows))


def _needed(comparison: ComparisonResult, points: int) -> int | str:
    return comparison.seeds_needed(points / 100) or "more items"


def task_table(evidence: Evidence) -> Table | None:
    """Accuracy by arm and task; None if there are fewer than two tasks."""
    if len(tasks := evidence.tasks) < 2:
        return None
    columns = (Column("arm", "arm"), *(Column(task, "percent") for task in tasks))
    found = evidence.task_accuracies
    rows = tuple((name, *(accuracies.get(task) for task in tasks)) for name, accuracies in found.items())
    return Table("tasks", "Accuracy by task", columns, rows)


def group_table(evidence: Evidence) -> Table | None:
    """Accuracy by arm and group of BIG-Bench-Hard's tasks; None if there are fewer than two groups."""
    found = {name: by_group(accuracies) for name, accuracies in evidence.task_accuracies.items()}
    groups = list(dict.fromkeys(group for each in found.values() for group in each))
    if len(groups) < 2:
        return None
    columns = (Column("arm", "arm"), *(Column(group, "percent") for group in groups))
    rows = tuple((name, *(each.get(group) for group in groups)) for name, each in found.items())
    return Table("groups", "Accuracy by group of tasks", columns, rows)


def gain_table(evidence: Evidence) -> Table | None:
    """What each trained arm gains over its untrained student; None if no arm's base was tested."""
    gains = evidence.gains.values()
    if not gains:
        return None
    columns = (
        Column("arm", "arm"),
        Column("base", "arm"),
        Column("gain (points)", "points"),
        Column("95 % interval", "interval"),
        Column("gained", "number"),
        Column("lost", "number"),
    )
    rows = tuple((g.a, g.b, g.difference, g.interval, g.gained, g.lost) for g in gains)
    return Table("gains", "Gain against the untrained student", columns, rows)


def shown(value: Any, kind: Kind) -> str:
    """A value as a table shows it; nothing for None."""
    if value is None:
        return ""
    if kind == "percent":
        return f"{100 * value:.1f} %"
    if kind == "points":
        return f"{100 * value:+.1f}"
    if kind == "interval":
        return interval(value)
    return p_value(value) if kind == "p" else quantity(value)


def interval(bounds: tuple[float, float]) -> str:
    """Two fractions as percent or percentage points: ``12.3 to 45.6``."""
    return f"{100 * bounds[0]:.1f} to {100 * bounds[1]:.1f}"


def p_value(p: float) -> str:
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"


def quantity(value: int | float | str | None) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else value


def to_markdown(table: Table) -> str:
    rules = (":--" if column.is_words else "--:" for column in table.columns)
    lines = [table.headings, *table.rows]
    cells = ["| " + " | ".join(map(markdown_text, line)) + " |" for line in lines]
    return "\n".join([cells[0], "| " + " | ".join(rules) + " |", *cells[1:]]) + "\n"
