"""The tables behind the results: the setup, arms and students, what they were trained on, what it took."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from cotdistill.reports.evidence import Arm, Evidence, Fact, varying_factors
from cotdistill.reports.tables import Column, Table

_SAID_BY_FACTORS = (
    "annotation.granularity", "annotation.format", "annotation.keep", "annotation.perturbation",
    "training.loss", "training.signal",
)  # fmt: skip
"""Settings that ``Arm.factors`` says in fewer words."""


def setup_table(evidence: Evidence) -> Table | None:
    """What the experiment was made with and on; None if nothing is known."""
    columns = (Column("what"), Column("value"))
    return Table("setup", "Setup", columns, tuple(evidence.setup)) if evidence.setup else None


def factor_table(evidence: Evidence) -> Table | None:
    """The factors and settings in which arms differ; None if they do not differ."""
    arms = evidence.arms
    factors = varying_factors(arms.values())
    keys = _varying_settings(evidence, factors)
    if not factors and not keys:
        return None
    rows = (
        (name, *(said(arm.factors.get(key)) for key in factors), *(_setting(arm, key) for key in keys))
        for name, arm in arms.items()
    )
    columns = (Column("arm", "arm"), *(Column(_words(key)) for key in (*factors, *keys)))
    return Table("arms", "What the arms are made of", columns, tuple(rows))


def names_table(evidence: Evidence) -> Table | None:
    """The whole names of arms that are shown by shorter ones; None if there are none."""
    rows = tuple((name, whole) for name, whole in evidence.full_names.items())
    return Table("names", "Whole names", (Column("arm"), Column("whole name")), rows) if rows else None


def _varying_settings(evidence: Evidence, factors: list[str]) -> list[str]:
    """Keys of settings that differ between arms and are not told by a factor; untrained arms have none of training."""
    arms = list(evidence.arms.values())
    found = []
    for key in dict.fromkeys(key for arm in arms for key in arm.settings):
        have = [arm for arm in arms if arm.lengths is not None or not key.startswith(("training", "annotation"))]
        told = key.startswith(_SAID_BY_FACTORS) or key.rpartition(".")[2] in factors
        if not told and len({arm.settings.get(key) for arm in have}) > 1:
            found.append(key)
    return found


def _setting(arm: Arm, key: str) -> Fact:
    if arm.lengths is None and not key.startswith("evaluation"):
        return None
    return said(arm.settings.get(key, "default"))


def said(value: Fact) -> str | None:
    """A setting as it is written: without digits that a float does not need, None if it does not apply."""
    return f"{value:g}" if isinstance(value, float) else None if value is None else str(value)


def student_table(evidence: Evidence) -> Table | None:
    """A row for each student with the command that asks it; None if none can be asked."""
    several = any(arm.num_seeds > 1 for arm in evidence.arms.values())
    rows = tuple(
        (name, *((cell.seed if arm.lengths else None,) if several else ()), _command(cell.student))
        for name, arm in evidence.arms.items()
        for cell in arm.cells
    )
    if not any(row[-1] for row in rows):
        return None
    seeds = (Column("seed", "number"),) if several else ()
    columns = (Column("arm", "arm"), *seeds, Column("how to ask it", "code"))
    return Table("students", "The students", columns, rows)


def _command(student: str | None) -> str | None:
    return f"cotdistill ask {shlex.quote(student)} 'QUESTION'" if student else None


def training_table(evidence: Evidence) -> Table | None:
    """What each student is trained on and what not, by reason; None if no arm is trained."""
    trained = {name: arm for name, arm in evidence.arms.items() if arm.lengths}
    if not trained:
        return None
    columns = (
        Column("arm", "arm"),
        Column("trained on", "number"),
        Column("with reasoning cut", "number"),
        Column("left out", "number"),
        Column("share left out", "percent"),
        Column("why"),
        Column("limit (tokens)", "number"),
        Column("longest (tokens)", "number"),
    )
    rows = []
    for name, arm in trained.items():
        found = arm.lengths or {}
        why = reasons(arm.left_out) or "nothing was left out"
        kept = (found["whole"] + found["cut"], found["cut"], sum(arm.left_out.values()))
        rows.append((name, *kept, arm.share_left_out, why, found["limit"], found["longest"]))
    return Table("training", "Trained on and left out", columns, tuple(rows))


def reasons(counts: Mapping[str, int]) -> str:
    """Counts by reason in words."""
    return ", ".join(f"{reason.replace('_', ' ')} {count:,}" for reason, count in counts.items())


def contamination_table(evidence: Evidence) -> Table | None:
    """Which test questions were found among the training questions, a row for all arms that agree; None if no arm is
    trained."""
    groups: dict[tuple[Any, ...], list[str]] = {}
    trained = [name for name, arm in evidence.arms.items() if arm.lengths]
    for name in trained:
        for row in _overlaps(evidence.arms[name]):
            groups.setdefault(row, []).append(name)
    if not groups:
        return None
    columns = (
        Column("arms"),
        Column("compared with"),
        Column("test questions", "number"),
        Column("same text", "number"),
        Column("same words", "number"),
        Column("13 words in a row", "number"),
        Column("rule"),
        Column("left out", "number"),
    )
    rows = tuple((some_of(names, len(trained)), *row) for row, names in groups.items())
    return Table("decontamination", "Test questions among the training questions", columns, rows)


def _overlaps(arm: Arm) -> list[tuple[Any, ...]]:
    found = arm.contamination
    left_out = arm.dropped.get("in_evaluation", 0)
    if found is None:
        return [("not looked for (annotation.decontaminate: off)", None, None, None, None, "off", left_out)]
    keys = ("questions", "exact", "normalised", "13_gram")
    return [
        (name, *(counts.get(key) for key in keys), found.get("left_out_by"), left_out)
        for name, counts in found["evaluation"].items()
    ]


def some_of(names: list[str], total: int, most: int = 3) -> str:
    """Names, or how many there are if they are all or many."""
    if len(names) == total > 1:
        return f"all {total}"
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def cost_table(evidence: Evidence) -> Table | None:
    """One row per arm, one column for every extra that some arm has; None if no arm has any."""
    keys = dict.fromkeys(key for arm in evidence.arms.values() for key in arm.extras)
    keys = [key for key in keys if any(arm.extras.get(key) is not None for arm in evidence.arms.values())]
    if not keys:
        return None
    rows = tuple((name, *(arm.extras.get(key) for key in keys)) for name, arm in evidence.arms.items())
    texts = [any(isinstance(arm.extras.get(key), str) for arm in evidence.arms.values()) for key in keys]
    columns = (Column(_words(key), "label" if text else "number") for key, text in zip(keys, texts, strict=True))
    return Table("cost", "Tokens and time", (Column("arm", "arm"), *columns), rows)


def missing_table(evidence: Evidence) -> Table | None:
    """Cells without a result, each with its error if it failed; None if there are none."""
    if not evidence.missing:
        return None
    rows = tuple((cell.name, cell.error or "not run yet") for cell in evidence.missing)
    return Table("missing", "Missing", (Column("cell"), Column("why")), rows)


def untested_table(evidence: Evidence) -> Table | None:
    """Declared comparisons that could not be made, and why; None if there are none."""
    if not evidence.untested:
        return None
    columns = (Column("a", "arm"), Column("b", "arm"), Column("why"))
    return Table("untested", "Declared, not tested", columns, tuple((u.a, u.b, u.problem) for u in evidence.untested))


def _words(key: str) -> str:
    return key.rsplit(".", 1)[-1].removeprefix("num_").replace("_", " ")
