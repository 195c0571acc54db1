"""From an experiment file to its cells, one training and test each, named by their content. Does not load torch."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from cotdistill.config import (
    CellConfig,
    Experiment,
    Factors,
    ModelConfig,
    arm_of,
    cell_identity,
    models_of,
    with_models,
)
from cotdistill.config.experiment import ARM_FACTOR, ONLY, SEED, STUDENT, TASK, TEACHER
from cotdistill.config.model import ARM
from cotdistill.errors import ConfigError, nearest
from cotdistill.experiments.types import with_types
from cotdistill.records import ACCURACY
from cotdistill.storage.hashes import content_key


@dataclass(frozen=True, slots=True)
class Cell:
    """An arm under one seed.

    ``id`` is a key of what it makes (:func:`cell_id`); ``arm`` a readable name of ``factors``, which are the arm's name
    in the file and its values by axis, the seed left out. ``uses`` maps each other arm whose student this one needs
    (``arm:NAME``) to the id of the cell that trains it.
    """

    id: str
    arm: str
    factors: Factors
    config: CellConfig
    uses: dict[str, str] = field(default_factory=dict)

    @property
    def seed(self) -> int:
        return self.config.seed

    @property
    def untrained(self) -> bool:
        return self.config.training is None

    @property
    def title(self) -> str:
        return self.arm if self.untrained else f"{self.arm}, seed {self.seed}"


@dataclass(frozen=True, slots=True)
class ArmPair:
    """Two arms, by name, of the declared comparison with number ``declared`` (from 0), and what is compared."""

    a: str
    b: str
    declared: int
    metric: str = ACCURACY


@dataclass(frozen=True)
class Plan:
    """An experiment's cells, arm by arm, and its comparisons resolved to arms: Holm's correction covers all of them.

    Arms may share a cell: identical cells are made once.
    """

    experiment: Experiment
    cells: tuple[Cell, ...]
    comparisons: tuple[ArmPair, ...]

    @property
    def name(self) -> str:
        return self.experiment.name

    @cached_property
    def arms(self) -> dict[str, tuple[Cell, ...]]:
        """The cells of each arm, one per seed. An untrained arm has one cell, since the seed does not matter to it."""
        arms: dict[str, list[Cell]] = {}
        for cell in self.cells:
            arms.setdefault(cell.arm, []).append(cell)
        return {name: tuple(cells) for name, cells in arms.items()}

    @cached_property
    def by_id(self) -> dict[str, Cell]:
        """Each cell once."""
        return {cell.id: cell for cell in reversed(self.cells)}

    @property
    def distinct(self) -> list[Cell]:
        """Each cell once, in order."""
        return [cell for cell in self.cells if self.by_id[cell.id] is cell]

    def cell(self, id: str) -> Cell:
        """Raises ConfigError for an id that is not in this experiment."""
        if id not in self.by_id:
            problem = f"unknown cell {id!r} of experiment {self.experiment.name}"
            raise ConfigError(problem, where="--only", remedy="cotdistill plan lists all ids")
        return self.by_id[id]


def plan(experiment: Experiment) -> Plan:
    """All cells of an experiment, in the order of its arms.

    Raises ConfigError if a cell's settings are invalid, a model names an arm that trains no student for it, or a
    comparison names a factor that no arm has or finds no arms.
    """
    made: dict[str, list[Cell]] = {}
    for arm in experiment.arms:
        made[arm] = _named(experiment, arm, _cells_of(experiment, arm, made))
    cells = tuple(cell for cells in made.values() for cell in cells)
    return Plan(experiment, cells, tuple(_pairs(experiment, cells)))


def cell_id(config: CellConfig, uses: dict[str, str] | None = None) -> str:
    """A key of all that can change what a cell makes: raising a budget keeps finished cells where they are."""

    def trained(model: ModelConfig) -> ModelConfig:
        arm = arm_of(model)
        return model if arm is None else model.model_copy(update={"model": f"{ARM}{(uses or {})[arm]}"})

    return content_key(cell_identity(with_models(config, trained)))


def _cells_of(experiment: Experiment, arm: str, made: dict[str, list[Cell]]) -> list[Cell]:
    """The different cells of one arm of the file, not named yet. A cell's factors are those shared by all points of the
    grid that lead to it."""
    axes = experiment.axes(arm)
    cells: dict[str, Cell] = {}
    for point in itertools.product(*(axis.by_name for axis in axes.values())):
        factors = dict(zip(axes, point, strict=True))
        where = ", ".join([f"arm {arm}", *(f"{axis} {_text(factor)}" for axis, factor in factors.items())])
        where = f"experiment {experiment.name}, {where}"
        config = experiment.cell(arm, factors, where=where)
        seed = factors.pop(SEED, None)
        uses = _used(config, {SEED: seed, **factors}, made, where)
        id = cell_id(config, uses)
        if known := cells.get(id):
            factors = {axis: value for axis, value in known.factors.items() if factors.get(axis) == value}
            config = known.config
        cells[id] = Cell(id, arm, {ARM_FACTOR: arm, **factors}, with_types(config, experiment.auto_dtype), uses)
    return list(cells.values())


def _used(config: CellConfig, factors: Factors, made: dict[str, list[Cell]], where: str) -> dict[str, str]:
    """The cells that train the students that a cell names as ``arm:NAME``: those with the same values on shared
    axes."""
    used: dict[str, str] = {}
    for name in filter(None, map(arm_of, models_of(config))):
        if name not in made:
            remedy = nearest(name, made) if made else "name a model"
            raise ConfigError(
                f"uses the student of arm {name!r}, which is not an arm above it", where=where, remedy=remedy
            )
        shared = {axis: value for axis, value in factors.items() if axis != ARM_FACTOR}
        found = [cell for cell in made[name] if _at(cell, shared, config.seed)]
        if any(cell.untrained for cell in found):
            raise ConfigError(
                f"uses the student of arm {name!r}, which does not train one", where=where, remedy="name its model"
            )
        if len(found) != 1:
            raise ConfigError(
                f"uses the student of arm {name!r}, which has {len(found)} for this cell",
                where=where,
                remedy="restrict an axis to some arms with {of: ARM, values: ...}",
            )
        used[name] = found[0].id
    return used


def _at(cell: Cell, factors: Factors, seed: int) -> bool:
    same = all(factors[axis] == value for axis, value in cell.factors.items() if axis in factors)
    return same and (cell.untrained or cell.seed == seed or factors.get(SEED) is None)


def _named(experiment: Experiment, arm: str, cells: list[Cell]) -> list[Cell]:
    """The cells with the names of their arms: the name in the file, and the values of the axes that tell its points
    apart."""
    axes = dict.fromkeys(axis for cell in cells for axis in cell.factors if axis != ARM_FACTOR)
    varying = [axis for axis in axes if len({_text(cell.factors.get(axis, cell)) for cell in cells}) > 1]
    last = [axis.rpartition(".")[2] for axis in varying]
    labels = {axis: name if last.count(name) == 1 else axis for axis, name in zip(varying, last, strict=True)}
    shown = () if list(experiment.arms)[-1:] == [ONLY] and arm == ONLY and varying else (arm,)
    named = []
    for cell in cells:
        parts = [*shown, *(_part(axis, label, cell.factors) for axis, label in labels.items() if axis in cell.factors)]
        named.append(Cell(cell.id, " ".join(parts), cell.factors, cell.config, cell.uses))
    return named


def _part(axis: str, label: str, factors: Factors) -> str:
    bare = axis in (STUDENT, TEACHER, TASK)
    return _text(factors[axis]) if bare else f"{label}={_text(factors[axis])}"


def _text(value: Any) -> str:
    return "none" if value is None else str(value)


def _pairs(experiment: Experiment, cells: tuple[Cell, ...]) -> Iterator[ArmPair]:
    arms = {cell.arm: cell.factors for cell in cells}
    for declared, comparison in enumerate(experiment.comparisons):
        where = f"experiment {experiment.name}, comparisons.{declared}"
        pairs = arm_pairs(arms, comparison.a, comparison.b, where)
        _check_samples(comparison.metric, {name for pair in pairs for name in pair}, cells, where)
        yield from (ArmPair(a, b, declared, comparison.metric) for a, b in pairs)


def _check_samples(metric: str, arms: set[str], cells: Sequence[Cell], where: str) -> None:
    """Raise ConfigError for a metric of more samples than an arm draws."""
    wanted = int(metric.partition("@")[2] or 1)
    for cell in cells:
        drawn = cell.config.evaluation.num_samples
        if cell.arm in arms and drawn < wanted:
            problem = f"{metric} needs {wanted} samples of each question, but {cell.arm} draws {drawn}"
            raise ConfigError(problem, where=f"{where}.metric", remedy=f"set evaluation.num_samples: {wanted}")


def arm_pairs(arms: dict[str, Factors], a: Factors, b: Factors, where: str) -> list[tuple[str, str]]:
    """Pairs of names of arms with factors ``a`` and of arms with ``b``, where all factors that neither names agree.

    Raises ConfigError for a factor that no arm has, and if there is no such pair.
    """
    sides = [_matching(arms, side, f"{where}.{name}") for name, side in (("a", a), ("b", b))]
    named = a.keys() | b.keys()
    pairs = [(one, two) for one in sides[0] for two in sides[1] if one != two and _agree(arms[one], arms[two], named)]
    if not pairs:
        raise ConfigError(
            "no two arms agree in everything that is not compared", where=where, remedy="name more factors"
        )
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
    """Whether two arms agree in all factors that both have, except the ``named``."""
    return all(a[axis] == b[axis] for axis in a.keys() & b.keys() - set(named))


def other_factors(factors: Factors, axis: str) -> str:
    """All factors except one, as a text to compare."""
    return json.dumps({key: value for key, value in factors.items() if key != axis}, sort_keys=True, default=str)
