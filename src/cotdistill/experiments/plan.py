"""From a study file to its cells: one resolved run each, named by its content. Loads no torch."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from cotdistill.config import OpenAITeacher, RunConfig, arm_of, models_of, set_dotted, validated
from cotdistill.config.study import SEED, STUDENT, TEACHER, TRAINING, UNTRAINED, Factors, Study
from cotdistill.errors import ConfigError, nearest
from cotdistill.storage.stages import content_key


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of a study: an arm under one seed.

    ``id`` is a key of ``config`` (:func:`cell_id`); ``arm`` a readable name of ``factors``, which are the arm's values
    by axis (teachers, students and long values by their names, the seed left out; ``training: None`` is an untrained
    student).
    """

    id: str
    arm: str
    factors: Factors
    seed: int
    config: RunConfig


@dataclass(frozen=True, slots=True)
class ArmPair:
    """Two arms, by name, that the declared comparison number ``declared`` (from 0) is between."""

    a: str
    b: str
    declared: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A study's cells, arm by arm, and its comparisons resolved to arms: the family that Holm's correction is over."""

    study: Study
    cells: tuple[Cell, ...]
    comparisons: tuple[ArmPair, ...]

    @property
    def arms(self) -> dict[str, tuple[Cell, ...]]:
        """The cells of each arm, one a seed. An untrained arm has one cell, since no seed matters to it."""
        arms: dict[str, tuple[Cell, ...]] = {}
        for cell in self.cells:
            arms[cell.arm] = (*arms.get(cell.arm, ()), cell)
        return arms

    def cell(self, id: str) -> Cell:
        """Raises ConfigError for an id that is none of this study's."""
        for cell in self.cells:
            if cell.id == id:
                return cell
        raise ConfigError(
            f"unknown cell {id!r} of study {self.study.name}", where="--only", remedy="cotdistill plan lists all ids"
        )


def plan(study: Study) -> Plan:
    """All cells of a study in order: the grid, the controls, the untrained students.

    Raises ConfigError where a cell's settings are invalid, or a comparison names a factor or finds arms that are not.
    """
    drafts = [_resolve(study, factors) for factors in _all_factors(study)]
    of_controls = {axis for control in study.controls for axis in control} - study.axes().keys()
    names = _arm_names([factors for factors, _, _ in drafts], of_controls)
    cells: dict[str, Cell] = {}
    for (factors, seed, config), name in zip(drafts, names, strict=True):
        id = cell_id(config)
        cells.setdefault(id, Cell(id, name, factors, seed, config))
    found = tuple(cells.values())
    return Plan(study, found, tuple(_pairs(study, found)))


def cell_id(config: RunConfig) -> str:
    """A key of all that can change what the run makes: a raised budget leaves finished cells where they are."""
    if isinstance(config.teacher, OpenAITeacher):
        config = config.model_copy(update={"teacher": config.teacher.without_access()})
    return content_key(config.model_dump(mode="json"))


def _all_factors(study: Study) -> Iterator[Factors]:
    axes = study.axes()
    yield from _product({axis: list(values) for axis, values in axes.items()})
    for control in study.controls:
        yield from _beside_the_grid(axes, control)
    in_controls = {control[STUDENT]: None for control in study.controls if STUDENT in control}
    yield from _beside_the_grid(axes | {STUDENT: axes[STUDENT] | in_controls}, UNTRAINED)


def _beside_the_grid(axes: dict[str, dict[Any, Any]], control: Factors) -> Iterator[Factors]:
    """A control under every student, seed, task and way of testing that it does not itself name."""
    crossed = {axis: list(values) for axis, values in axes.items() if _is_crossed(axis)}
    yield from _product(crossed | {axis: [value] for axis, value in control.items()})


def _is_crossed(axis: str) -> bool:
    return axis in (SEED, STUDENT) or axis.partition(".")[0] in ("task", "evaluation")


def _product(values: dict[str, list[Any]]) -> Iterator[Factors]:
    for combination in itertools.product(*values.values()):
        yield dict(zip(values, combination, strict=True))


def _resolve(study: Study, factors: Factors) -> tuple[Factors, int, RunConfig]:
    """The arm's factors, its seed and its settings."""
    values = json.loads(json.dumps(study.base))
    if isinstance(values.get(TEACHER), str) and values[TEACHER] in study.teachers:
        values[TEACHER] = study.value(TEACHER, values[TEACHER])
    for axis, factor in factors.items():
        set_dotted(values, axis, study.value(axis, factor))
    arm = {axis: factor for axis, factor in factors.items() if axis != SEED}
    where = f"study {study.name}, " + ", ".join(f"{axis} {_text(factor)}" for axis, factor in factors.items())
    if values.get(TRAINING, {}) is None:
        values[SEED] = next(iter(study.axes()[SEED]))
    config = validated(RunConfig, values, where=where, folder=study.folder)
    if any(map(arm_of, models_of(config))):
        raise ConfigError("arm:NAME is for run files", where=where, remedy="name a model or a folder")
    return arm, config.seed, config


def _arm_names(arms: list[Factors], of_controls: set[str]) -> list[str]:
    """A short name for each arm: the fewest of its factors that tell all apart, and those that are ``of_controls``."""
    axes = dict.fromkeys(axis for arm in arms for axis in arm)
    always = {TRAINING, *of_controls}
    varying = [axis for axis in axes if axis in always or len({_key(arm[axis]) for arm in arms if axis in arm}) > 1]
    not_in_all = [axis for axis in axes if len({_key(arm.get(axis, arm)) for arm in arms}) > 1]
    distinct = len({_key(arm) for arm in arms})
    names: list[str] = []
    for shown, with_none in ((varying, False), (not_in_all, False), (not_in_all, True)):
        names = [_arm_name(arm, shown, with_none=with_none) for arm in arms]
        if len(set(names)) == distinct:
            break
    return names


def _arm_name(arm: Factors, axes: Iterable[str], *, with_none: bool) -> str:
    parts = []
    for axis in axes:
        if axis == TRAINING and axis in arm and arm[axis] is None:
            parts.append("base")
        elif axis in arm and (arm[axis] is not None or with_none):
            bare = axis in (STUDENT, TEACHER, "task")
            parts.append(_text(arm[axis]) if bare else f"{axis.rpartition('.')[2]}={_text(arm[axis])}")
    return " ".join(parts) or _text(arm[STUDENT])


def _text(value: Any) -> str:
    """A factor in a few characters: a section by its kind and settings."""
    if isinstance(value, dict):
        settings = ", ".join(f"{key}={_text(each)}" for key, each in value.items() if key not in ("kind", "name"))
        return str(value.get("kind") or value.get("name") or "") + (f"({settings})" if settings else "")
    if isinstance(value, list):
        return "+".join(map(_text, value))
    return "none" if value is None else str(value)


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _pairs(study: Study, cells: tuple[Cell, ...]) -> Iterator[ArmPair]:
    arms = {cell.arm: cell.factors for cell in cells}
    for declared, comparison in enumerate(study.comparisons):
        where = f"study {study.name}, comparisons.{declared}"
        yield from (ArmPair(a, b, declared) for a, b in arm_pairs(arms, comparison.a, comparison.b, where))


def arm_pairs(arms: dict[str, Factors], a: Factors, b: Factors, where: str) -> list[tuple[str, str]]:
    """The names of arms with factors ``a`` beside those of arms with ``b``, where all factors that neither names agree.

    Raises ConfigError for a factor that no arm has, and where there is no such pair.
    """
    sides = [_matching(arms, side, f"{where}.{name}") for name, side in (("a", a), ("b", b))]
    named = a.keys() | b.keys()
    pairs = [(one, two) for one in sides[0] for two in sides[1] if one != two and _agree(arms[one], arms[two], named)]
    if not pairs:
        raise ConfigError("no two arms agree in all that is not compared", where=where, remedy="name more factors")
    return pairs


def _matching(arms: dict[str, Factors], side: Factors, where: str) -> list[str]:
    for axis, factor in side.items():
        values = [arm[axis] for arm in arms.values() if axis in arm]
        if not values:
            known = {name for arm in arms.values() for name in arm}
            raise ConfigError(f"no arm has the factor {axis!r}", where=where, remedy=nearest(axis, known))
        if factor not in values:
            remedy = nearest(_text(factor), set(map(_text, values)))
            raise ConfigError(f"no arm has {_text(factor)!r} for {axis}", where=where, remedy=remedy)
    found = [name for name, arm in arms.items() if all(axis in arm and arm[axis] == side[axis] for axis in side)]
    if not found:
        raise ConfigError("no arm has all of these factors", where=where, remedy="cotdistill plan lists all arms")
    return found


def _agree(a: Factors, b: Factors, named: Iterable[str]) -> bool:
    """Whether two arms agree in all factors that both have, but for the ``named``."""
    return all(a[axis] == b[axis] for axis in a.keys() & b.keys() - set(named))
