"""Which tables a report has, and in which section each stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cotdistill.reports import details, tables, watched
from cotdistill.reports.evidence import Evidence
from cotdistill.reports.figures.canvas import Drawing, Section
from cotdistill.reports.tables import Table


@dataclass(frozen=True, slots=True)
class Part:
    """A section of the page with what the evidence fills of it."""

    name: Section
    title: str
    tables: Sequence[Table]
    drawings: Sequence[Drawing]

    def __bool__(self) -> bool:
        return bool(self.tables or self.drawings)


_TITLES: dict[Section, str] = {"findings": "Findings", "setup": "Setup", "training": "Training"}


def all_tables(evidence: Evidence) -> dict[Section, list[Table]]:
    """Every table that the evidence fills, by section, in the order of a page."""
    found: dict[Section, list[Table | None]] = {
        "findings": [
            details.missing_table(evidence),
            tables.score_table(evidence),
            tables.comparison_table(evidence.comparisons),
            details.untested_table(evidence),
            tables.metric_table(evidence),
            tables.seeds_table(evidence.comparisons),
            tables.task_table(evidence),
            tables.group_table(evidence),
            tables.gain_table(evidence),
        ],
        "setup": [
            details.setup_table(evidence),
            details.factor_table(evidence),
            details.names_table(evidence),
            details.student_table(evidence),
        ],
        "training": [
            details.training_table(evidence),
            watched.watched_table(evidence),
            watched.answers_table(evidence),
            details.contamination_table(evidence),
            details.cost_table(evidence),
        ],
    }
    return {section: [table for table in each if table is not None] for section, each in found.items()}


def parts_of(evidence: Evidence, drawings: Sequence[Drawing]) -> list[Part]:
    """The page's sections in order."""
    return [
        Part(name, _TITLES[name], found, [drawing for drawing in drawings if drawing.section == name])
        for name, found in all_tables(evidence).items()
    ]


def with_whole_names(table: Table, evidence: Evidence) -> Table:
    """The table with arms' whole names, for other programs."""
    if not evidence.full_names:
        return table

    def whole(value: Any, kind: str) -> Any:
        return evidence.full_names.get(value, value) if kind == "arm" else value

    rows = (zip(row, table.columns, strict=True) for row in table.values)
    return replace(table, values=tuple(tuple(whole(value, column.kind) for value, column in row) for row in rows))
