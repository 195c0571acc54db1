"""What validation found while students were trained: which step was kept, why the training stopped, what was said."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from cotdistill.reports.evidence import Answered, Evidence, Watched
from cotdistill.reports.tables import Column, Table
from cotdistill.storage.finished import FinishedStage

MOST_QUESTIONS = 2
"""Of an arm, this many held-out questions are shown with what was said to them."""
_LONGEST = 300
"""Characters of an answer that are shown."""


def read_watched(training: FinishedStage) -> Watched | None:
    """What a training's validation found; None without one."""
    found = training.summary.get("validation")
    if not found:
        return None
    rows = list(training.rows("validation.jsonl"))
    return Watched(
        steps=[row["step"] for row in rows],
        losses=[row.get("loss") for row in rows],
        accuracies=[row.get("accuracy") for row in rows],
        kept=found["kept_step"],
        last=training.summary["num_steps"],
        kept_because=found["kept_because"],
        stopped_because=found["stopped_because"],
        answers=list(_answers(training, {rows[0]["step"], found["kept_step"], rows[-1]["step"]})),
    )


def _answers(training: FinishedStage, steps: set[int]) -> Iterator[Answered]:
    """Those of the first questions, which are the same at every check."""
    for step in sorted(steps):
        rows = (row for row in training.rows("validation_samples.jsonl") if row["step"] == step)
        for row in islice(rows, MOST_QUESTIONS):
            yield Answered(step, row["id"], row["output"], row["answer"], row["verdict"])


def watched_table(evidence: Evidence) -> Table | None:
    """One row per student that was checked: the kept step, why it was kept and why training stopped, and what was found
    there; None if none was."""
    rows = tuple(
        (
            name,
            cell.seed,
            f"{watched.kept} of {watched.last}",
            watched.kept_because,
            watched.stopped_because,
            _loss(watched.at(watched.losses, watched.kept)),
            watched.at(watched.accuracies, watched.kept),
        )
        for name, arm in evidence.arms.items()
        for cell in arm.cells
        if (watched := cell.watched)
    )
    columns = (
        Column("arm", "arm"),
        Column("seed", "number"),
        Column("kept step"),
        Column("why this one"),
        Column("why it stopped"),
        Column("loss", "number"),
        Column("accuracy", "percent"),
    )
    return Table("validation", "Which step was kept", columns, rows) if rows else None


def answers_table(evidence: Evidence) -> Table | None:
    """A few answers of each arm's first seed, as it learns; None if no question was asked."""
    rows: list[tuple[Any, ...]] = []
    for name, arm in evidence.arms.items():
        watched = arm.cells[0].watched if arm.cells else None
        for each in watched.answers if watched else ():
            rows.append((name, each.question, each.step, _cut(each.output), each.answer, each.verdict))
    columns = (
        Column("arm", "arm"),
        Column("question"),
        Column("step", "number"),
        Column("what it said"),
        Column("gold answer"),
        Column("verdict"),
    )
    ordered = sorted(rows, key=lambda row: (list(evidence.arms).index(row[0]), row[1], row[2]))
    return Table("answers", "Held-out questions while training", columns, tuple(ordered)) if rows else None


def _loss(loss: float | None) -> str | None:
    return None if loss is None else f"{loss:.4f}"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} [...] {text[-_LONGEST // 2 :]}"
