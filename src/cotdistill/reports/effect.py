"""What rationales do inside a student, as a table and a figure: ``effect.md``, ``effect.svg`` and ``effect.pdf``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cotdistill.evaluation.statistics.comparisons import mean_interval
from cotdistill.reports.figures import write_figure
from cotdistill.reports.figures.effect import draw_effect
from cotdistill.reports.tables import Column, Table, to_markdown
from cotdistill.storage.atomic import write_text_atomically

PAGE = "effect.md"
_SOURCES = {"own": "its own", "human": "people's", "teacher": "the teacher's"}

Answered = Literal["all", "right", "wrong"]


@dataclass(frozen=True, slots=True)
class EffectGroup:
    """Rationales of one ``source`` for all questions, or those that the student ``answered`` right or wrong.

    ``effects`` are in nats, ``attention`` in shares, one per question; attention may be missing for some.
    """

    source: str
    answered: Answered
    effects: Sequence[float]
    attention: Sequence[float]

    @property
    def name(self) -> str:
        whose = _SOURCES.get(self.source, self.source)
        return whose if self.answered == "all" else f"{whose}, answered {self.answered}"


def effect_groups(rows: Sequence[Mapping[str, Any]]) -> list[EffectGroup]:
    """The groups of an effect stage's rows, source by source, without empty ones."""
    sources = [source for source in _SOURCES if any(source in row["effects"] for row in rows)]
    correct: dict[Answered, tuple[bool | None, ...]] = {
        "all": (True, False, None), "right": (True,), "wrong": (False,)
    }  # fmt: skip
    groups = []
    for source in sources:
        for answered, verdicts in correct.items():
            found = [row for row in rows if source in row["effects"] and row["correct"] in verdicts]
            shares = [share for row in found if (share := row["attention"].get(source)) is not None]
            if found:
                groups.append(EffectGroup(source, answered, [row["effects"][source] for row in found], shares))
    return groups


def effect_table(groups: Sequence[EffectGroup]) -> Table:
    """One row per group: the mean effect with its interval, how often it helps, and the mean attention."""
    columns = (
        Column("rationale"),
        Column("n", "number"),
        Column("effect (nats)", "number"),
        Column("95 % interval", "number"),
        Column("makes it more likely", "percent"),
        Column("attention", "percent"),
    )
    return Table("effect", "What rationales do to the gold answer's probability", columns, tuple(map(_row, groups)))


def _row(group: EffectGroup) -> tuple[Any, ...]:
    mean, low, high = mean_interval(group.effects)
    helps = sum(effect > 0 for effect in group.effects) / len(group.effects)
    attention = sum(group.attention) / len(group.attention) if group.attention else None
    return group.name, len(group.effects), f"{mean:+.2f}", f"{low:+.2f} to {high:+.2f}", helps, attention


def write_effect(groups: Sequence[EffectGroup], folder: Path) -> Path:
    """Write page and figure beside the stage's rows; returns the path of the page."""
    drawing, table = draw_effect(groups), effect_table(groups)
    write_text_atomically(folder / "effect.svg", drawing.svg)
    write_figure(drawing.figure, folder / "effect.pdf")
    page = f"# {table.title}\n\n{to_markdown(table)}\n![{drawing.title}](effect.svg)\n\n{drawing.caption}\n"
    write_text_atomically(folder / PAGE, page)
    return folder / PAGE
