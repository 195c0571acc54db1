"""A study file: a grid of arms over teachers, students and settings, its controls, and what is compared.

``experiments/plan.py`` turns it into cells; here it is only read and checked for form.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator, model_validator

from cotdistill.config.annotation import TeacherConfig
from cotdistill.config.base import FolderPath, Settings
from cotdistill.config.model import Model
from cotdistill.config.run import RunConfig, is_study, read_yaml, set_dotted
from cotdistill.config.validation import validated
from cotdistill.errors import ConfigError, nearest

SEED, STUDENT, TEACHER, TRAINING = "seed", "student", "teacher", "training"
UNTRAINED = {TRAINING: None}
"""The factor that marks the base: the student as it is, without training."""


def _side(value: Any) -> Any:
    if isinstance(value, str) and value != "base":
        raise ValueError(
            f"{value!r} is no side of a comparison; give the factors of its arms, {{AXIS: VALUE}}, or base"
        )
    return UNTRAINED if value == "base" else value


Factors = dict[str, Any]
"""Values by axis: ``{"student": "smollm2", "annotation.granularity": 3}``."""

Side = Annotated[Factors, BeforeValidator(_side), Field(min_length=1)]
"""The arms of one side of a comparison: all that have these factors. ``base`` stands for ``{training: null}``."""


class StudyComparison(Settings):
    """Arms with factors ``a`` against arms with factors ``b``, pair by pair where all other factors agree."""

    a: Side
    b: Side


class Resources(Settings):
    """What a cell needs of a Ray cluster, and how often it is tried again where its node goes down."""

    num_cpus: float = Field(default=1, ge=0)
    num_gpus: float = Field(default=0, ge=0)
    max_retries: int = Field(default=3, ge=0)


class Study(Settings):
    """A study file. ``grid`` maps an axis to its values: ``teacher``, ``student``, ``seed`` or any dotted key of a run.

    Values that are long have names: ``training.loss: {kl_only: [...], mixed: [...]}``. Teachers and students are named
    by what they are called in ``teachers`` and ``students``. Each of the ``controls`` is an arm beside the grid: it
    overrides ``base`` and is crossed with the axes that it does not name among seed, student, task and evaluation. The
    untrained students (``training: null``) are always added.
    """

    name: str = Field(pattern=r"^[\w][\w.-]*$", description="default: the file's name, or its folder's for study.yaml")
    question: str = ""
    folder: FolderPath = Field(description="what relative paths in base, grid and controls start from")
    teachers: dict[str, TeacherConfig] = Field(default={})
    students: dict[str, Model] = Field(min_length=1)
    base: dict[str, Any]
    grid: dict[str, Any] = Field(default={})
    controls: tuple[Factors, ...] = ()
    comparisons: tuple[StudyComparison, ...] = ()
    resources: Resources = Resources()

    @field_validator("grid")
    @classmethod
    def axes_have_values(cls, grid: dict[str, Any]) -> dict[str, Any]:
        for axis, values in grid.items():
            if not isinstance(values, list | dict) or not values:
                raise ValueError(f"axis {axis!r} needs a list of values, or a mapping of names to them, not {values!r}")
            if isinstance(values, list) and any(isinstance(value, dict | list) for value in values):
                raise ValueError(f"axis {axis!r} has long values; give each a name: {axis}: {{NAME: VALUE, ...}}")
            if isinstance(values, list) and len({json.dumps(value) for value in values}) < len(values):
                raise ValueError(f"axis {axis!r} names a value twice")
            if isinstance(values, dict) and axis in (SEED, STUDENT, TEACHER):
                raise ValueError(f"axis {axis!r} needs a list")
        return grid

    @model_validator(mode="after")
    def names_exist(self) -> Study:
        if STUDENT in self.base:
            raise ValueError("base.student is not for studies; name it in students (and in grid.student)")
        for place, factors in self._named_factors():
            for axis, known in ((TEACHER, self.teachers), (STUDENT, self.students)):
                for name in factors.get(axis, ()):
                    if name not in known:
                        raise ValueError(f"unknown {axis} {name!r} in {place}; {nearest(str(name), known)}")
        if TEACHER not in self.grid and TEACHER not in self.base and len(self.teachers) > 1:
            raise ValueError(f"several teachers, but no axis; add grid.teacher: [{', '.join(self.teachers)}]")
        return self

    def _named_factors(self) -> list[tuple[str, dict[str, list[Any]]]]:
        places = [("grid", self.grid)]
        sides = [(f"controls.{place}", control) for place, control in enumerate(self.controls)]
        for place, comparison in enumerate(self.comparisons):
            sides += [(f"comparisons.{place}.a", comparison.a), (f"comparisons.{place}.b", comparison.b)]
        return places + [(place, {axis: [value] for axis, value in factors.items()}) for place, factors in sides]

    def axes(self) -> dict[str, dict[Any, Any]]:
        """Every axis of the grid with its factors and what they stand for; student and seed are always among them."""
        grid = dict(self.grid)
        if TEACHER not in grid and TEACHER not in self.base and self.teachers:
            grid[TEACHER] = list(self.teachers)
        grid.setdefault(STUDENT, list(self.students))
        grid.setdefault(SEED, [self.base.get(SEED, 0)])
        return {axis: self.values(axis, grid[axis]) for axis in sorted(grid, key=_axis_rank)}

    def values(self, axis: str, values: list[Any] | dict[str, Any]) -> dict[Any, Any]:
        return values if isinstance(values, dict) else {value: self.value(axis, value) for value in values}

    def value(self, axis: str, factor: Any) -> Any:
        """The setting that a factor stands for: a teacher or a student by name, a long value by its axis's names."""
        if axis == TEACHER:
            return self.teachers[factor].model_dump(mode="json")
        if axis == STUDENT:
            return self.students[factor].model_dump(mode="json")
        named = self.grid.get(axis)
        return named.get(factor, factor) if isinstance(named, dict) and isinstance(factor, str) else factor


def _axis_rank(axis: str) -> int:
    """Students first and seeds last: cells come in an order in which arms are whole and students stay together."""
    return {STUDENT: 0, TEACHER: 1, SEED: 3}.get(axis, 2)


def load_study(path: Path, overrides: Factors | None = None) -> Study:
    """Read a study file and apply ``overrides``: keys of the file (``grid.seed``) or, without a section, of its base.

    Raises ConfigError naming key, value and remedy. The settings of the cells are checked by ``plan``.
    """
    values = json.loads(json.dumps(read_yaml(path), default=str))
    if not is_study(values):
        remedy = f"a study has students, base and grid; a run file is for cotdistill run {path}"
        raise ConfigError("no study file", where=path, remedy=remedy)
    default_name = path.resolve().parent.name if path.stem == "study" else path.stem
    values = {"name": default_name, "folder": "."} | values
    for key, value in (overrides or {}).items():
        _override(values, key, value)
    return validated(Study, values, where=str(path), folder=path.parent)


def _override(values: dict[str, Any], key: str, value: Any) -> None:
    section, _, rest = key.partition(".")
    if section == "grid" and rest:
        values["grid"] = (values.get("grid") or {}) | {rest: value}
    elif key in (values.get("grid") or {}):
        raise ConfigError(f"{key!r} is an axis of the grid", where="--set", remedy=f"set grid.{key}=[...]")
    elif section in Study.model_fields and section not in RunConfig.model_fields:
        set_dotted(values, key, value)
    else:
        set_dotted(values, f"base.{key}", value)
