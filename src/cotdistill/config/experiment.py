"""An experiment file: settings, arms that override them, a grid that crosses them, and what is compared.

Everything but the settings of one cell is optional: without arms there is one, beside the untrained student; without a
grid there is one point. ``experiments/plan.py`` turns the file into cells; this module reads it and checks its form.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from cotdistill.config.annotation import AnnotationConfig, AnswerOnlyTeacher, HumanTeacher, TeacherConfig
from cotdistill.config.base import FolderPath, Settings, identity
from cotdistill.config.comparison import ARM_FACTOR, Comparison, Factors
from cotdistill.config.dotted import set_dotted
from cotdistill.config.elsewhere import known_elsewhere
from cotdistill.config.evaluation import EvaluationConfig
from cotdistill.config.files import read_yaml, written_yaml
from cotdistill.config.grid import Axis, GridAxis, Resources
from cotdistill.config.model import ARM, Model, ModelConfig
from cotdistill.config.parts import Part
from cotdistill.config.secrets import refuse_secrets
from cotdistill.config.task import FileTask, HubTask, TaskConfig
from cotdistill.config.training import TrainingConfig
from cotdistill.config.validation import close_or_elsewhere, misplaced, validated
from cotdistill.errors import ConfigError, nearest

__all__ = [
    "CellConfig",
    "Experiment",
    "arm_of",
    "cell_identity",
    "experiment_of",
    "load_experiment",
    "models_of",
    "with_models",
]

SEED, STUDENT, TEACHER, TASK, TRAINING = "seed", "student", "teacher", "task", "training"
BASE = "base"
"""The arm that is added if no other tests the untrained student."""
MOST_POINTS = 100_000
"""Of the grid, for one arm: more could not even be listed."""
ONLY = "student"
"""The name of the only arm of a file that names none."""


class CellConfig(Settings):
    """What one cell is made from: questions, rationales, a student, its training and its test.

    ``training: null`` is the untrained student.
    """

    task: TaskConfig = Field(
        description="the questions: a benchmark's name, a file, a data set of the hub, or procedural ones",
        examples=["questions.csv"],
    )
    teacher: TeacherConfig = Field(
        default=AnswerOnlyTeacher(),
        description="who writes the rationales; human: they come with the questions",
        examples=["human"],
    )
    annotation: AnnotationConfig = Field(
        default=AnnotationConfig(),
        description="which rationales, which of them are kept, and how they are changed",
        examples=[{"granularity": 3, "keep": "verified"}],
    )
    student: Model = Field(description="the model that is trained and tested", examples=["builtin:nano-student"])
    training: TrainingConfig | None = Field(
        default=TrainingConfig(),
        description="how the student is trained; null: it is only tested",
        examples=[{"epochs": 3, "learning_rate": 5.0e-5}],
    )
    evaluation: EvaluationConfig = Field(
        default=EvaluationConfig(), description="how the student is tested", examples=[{"max_new_tokens": 200}]
    )
    seed: int = Field(
        default=0, description="the seed of the order of the examples, of dropout and of new weights", examples=[1]
    )

    @model_validator(mode="after")
    def served_students_are_not_trained(self) -> CellConfig:
        if self.evaluation.served and self.training:
            raise ValueError("a student behind a server (evaluation.engine) cannot be trained; set training: null")
        return self

    @model_validator(mode="after")
    def something_to_train_on(self) -> CellConfig:
        if self.training and isinstance(self.task, FileTask | HubTask) and self.task.train is None:
            raise ValueError("the task has nothing to train on; give task.train, or set training: null")
        return self

    @model_validator(mode="after")
    def tests_are_not_trained_on(self) -> CellConfig:
        trained_on = self.task.train if self.training and isinstance(self.task, FileTask) else None
        for task in self.evaluation.tasks or ():
            if trained_on and isinstance(task, FileTask) and task.test == trained_on:
                remedy = f"write {{train: {trained_on.name}}} for its held-out share"
                raise ValueError(f"evaluation.tasks tests on all of {trained_on.name}, which is trained on; {remedy}")
        return self


def arm_of(model: ModelConfig) -> str | None:
    """The arm whose student a model is (``arm:NAME``), None for any other model."""
    return model.model.removeprefix(ARM) if model.model.startswith(ARM) else None


def models_of(config: CellConfig) -> list[ModelConfig]:
    """The models that a cell needs: its student and those of its signal."""
    return [config.student, *(signal.model for signal in (config.training.signals if config.training else ()))]


def with_models(config: CellConfig, replace: Callable[[ModelConfig], ModelConfig]) -> CellConfig:
    """The cell with each of its models replaced."""
    changed = config.model_copy(update={"student": replace(config.student)})
    if config.training is None or config.training.signal is None:
        return changed
    training = config.training.with_signals(lambda one: one.model_copy(update={"model": replace(one.model)}))
    return changed.model_copy(update={"training": training})


_OF_RATIONALES = ("keep", "answer_conditioned", "compress", "perturbation")


def settled(config: CellConfig) -> CellConfig:
    """The cell with what changes nothing in it set back to defaults.

    An untrained student reads no rationales and has no seed; human rationales have no granularity or format, and
    without rationales there is nothing to keep or to perturb.
    """
    defaults = AnnotationConfig()
    if config.training is None:
        return config.model_copy(update={"teacher": AnswerOnlyTeacher(), "annotation": defaults, "seed": 0})
    unused = {HumanTeacher: ("granularity", "format"), AnswerOnlyTeacher: ("granularity", "format", *_OF_RATIONALES)}
    reset = {name: getattr(defaults, name) for name in unused.get(type(config.teacher), ())}
    return config.model_copy(update={"annotation": config.annotation.model_copy(update=reset)})


def cell_identity(config: CellConfig) -> dict[str, Any]:
    """All that can change what a cell makes, as far as its settings say."""
    return identity(settled(config), places=True)


class Experiment(Settings):
    """An experiment file as it is read.

    The settings of every cell are at the top of the file. Each of the ``arms`` overrides them by dotted keys.
    ``grid`` maps an axis, which is any dotted key, to its values, as a list or as ``{NAME: VALUE, ...}``. It is crossed
    with every arm, or with those that ``{of: ARM, values: ...}`` names; what an arm sets itself wins. An axis that
    changes nothing in an arm (a granularity without rationales, a seed without training) adds no cells to it.
    """

    name: str = Field(
        pattern=r"^[\w][\w.-]*$", description="default: the file's name, or its folder's", examples=["sums"]
    )
    question: str = Field(
        default="", description="what the experiment is to answer, for the report", examples=["Do rationales help?"]
    )
    folder: FolderPath = Field(
        default=Path(), description="the folder that relative paths in the file start from", examples=["data"]
    )
    settings: dict[str, Any]
    arms: dict[str, Factors] = Field(
        default={},
        description="names, each with what it overrides, by dotted keys. Default: one, and the untrained student",
        examples=[{"answers": {"teacher": "answer_only"}, "rationales": {}}],
    )
    grid: dict[str, GridAxis] = Field(
        default={},
        description="axes: settings with several values, crossed with the arms",
        examples=[{"seed": [0, 1, 2]}],
    )
    comparisons: tuple[Comparison, ...] = Field(
        default=(),
        description="which arms are compared; declared before anything is run",
        examples=[[{"a": "rationales", "b": "answers"}]],
    )
    figures: tuple[Part, ...] = Field(
        default=(), description="your own functions, drawn after ours", examples=[["figures.py:words"]]
    )
    resources: Resources = Field(
        default=Resources(), description="what each cell needs on a Ray cluster", examples=[{"num_gpus": 1}]
    )
    auto_dtype: Literal["float32", "bfloat16"] | None = Field(
        default=None, description="what dtype: auto comes to in all cells; the first run writes it into its own file"
    )
    keep_students: Literal["all", "best", "none"] = Field(
        default="all", description="best: of those made from each model; a student stays until no cell needs it"
    )

    @model_validator(mode="after")
    def axes_are_of_arms(self) -> Experiment:
        for name, axis in self.grid.items():
            if name == ARM_FACTOR:
                raise ValueError("'arm' is not an axis; name arms under arms")
            for arm in axis.of or ():
                if arm not in self.arms:
                    raise ValueError(f"axis {name!r} is for the unknown arm {arm!r}; {nearest(arm, self.arms)}")
        for arm in self.arms:
            if math.prod(len(axis.by_name) for axis in self.axes(arm).values()) > MOST_POINTS:
                raise ValueError(f"the grid has more than {MOST_POINTS:,} points for the arm {arm!r}; leave out axes")
        return self

    def axes(self, arm: str) -> dict[str, Axis]:
        """The axes that are crossed with an arm: students first and seeds last, so that arms stay together."""
        found = {name: axis for name, axis in self.grid.items() if axis.of is None or arm in axis.of}
        return dict(sorted(found.items(), key=lambda item: _axis_rank(item[0])))

    def cell(self, arm: str, factors: Factors, *, where: str) -> CellConfig:
        """The settings of an arm at one point of its axes. Raises ConfigError where they are invalid."""
        values = json.loads(json.dumps(self.settings, default=str))
        for axis, factor in factors.items():
            set_dotted(values, axis, deepcopy(self.grid[axis].by_name[factor]))
        for key, value in self.arms[arm].items():
            set_dotted(values, key, deepcopy(value))
        return validated(CellConfig, values, where=where, folder=self.folder)

    def to_yaml(self) -> str:
        """A file that :func:`load_experiment` reads as this experiment, wherever it lies."""
        row = self.model_dump(mode="json")
        return written_yaml({**row.pop("settings"), **row})


def _axis_rank(axis: str) -> int:
    return {STUDENT: 0, TEACHER: 1, SEED: 3}.get(axis, 2)


_OF_THE_FILE = (
    *("name", "question", "folder", "arms", "grid", "comparisons", "figures"),
    *("resources", "auto_dtype", "keep_students"),
)
_OLD_STUDY = ("students", "teachers", "base", "controls")


def load_experiment(path: Path, overrides: Factors | None = None) -> Experiment:
    """Read an experiment file (YAML) and apply ``overrides``: settings of all arms by dotted keys (an arm's own
    settings win), ``arms.NAME.KEY`` of one arm, or ``grid.AXIS``.

    Paths in the file are relative to its folder. Raises ConfigError naming key, value and remedy. The settings of the
    cells are checked by ``plan``.
    """
    values = read_yaml(path)
    stem = path.stem if path.stem not in ("run", "study", "experiment") else path.resolve().parent.name
    name = re.sub(r"[^\w.-]+", "-", stem)
    return experiment_of({"name": name} | values, overrides, where=str(path), folder=path.parent)


def experiment_of(
    values: dict[str, Any], overrides: Factors | None = None, *, where: str, folder: Path = Path()
) -> Experiment:
    """An experiment from the content of its file. Raises ConfigError as :func:`load_experiment` does."""
    values = json.loads(json.dumps(values, default=str))
    for place, read in ((where, values), ("--set", overrides)):
        try:
            refuse_secrets(read)
        except ValueError as error:
            raise ConfigError(str(error), where=place) from None
    _refuse_unknown(values, where)
    fields = {"folder": "."} | {key: values.pop(key) for key in _OF_THE_FILE if key in values}
    fields["arms"], fields["settings"] = _arms(fields.get("arms"), where), values
    for key, value in (overrides or {}).items():
        _override(fields, key, value)
        fields["arms"] = _arms(fields["arms"], "--set")
    fields["arms"] = _with_base(fields["settings"], fields["arms"], where)
    return validated(Experiment, fields, where=where, folder=folder)


def _arms(arms: Any, where: str) -> dict[str, Factors]:
    if arms is not None and not (isinstance(arms, dict) and all(isinstance(v, dict | None) for v in arms.values())):
        remedy = "write {NAME: {KEY: VALUE}}"
        raise ConfigError("arms must map a name to its overrides", where=f"{where}, arms", remedy=remedy)
    return {str(name): changes or {} for name, changes in (arms or {}).items()}


def _refuse_unknown(values: dict[str, Any], where: str) -> None:
    if old := [key for key in _OLD_STUDY if key in values]:
        raise ConfigError(
            f"the key {old[0]!r} belongs to the old study files",
            where=where,
            remedy="put the keys of base at the top, teachers and students as axes of the grid ({NAME: VALUE, ...}), "
            "and each of the controls as an arm",
        )
    known = (*CellConfig.model_fields, *_OF_THE_FILE)
    for key in values:
        if key not in known:
            remedy = misplaced(CellConfig, key) if known_elsewhere(key) is None else None
            remedy = remedy or close_or_elsewhere(key, list(known))
            raise ConfigError(f"unknown key {key!r}", where=where, remedy=remedy)


def _with_base(settings: dict[str, Any], arms: dict[str, Factors], where: str) -> dict[str, Factors]:
    """The arms, one if none is named, and the untrained student if no arm tests it."""
    if not arms:
        arms = {BASE if _untrained(settings, {}) else ONLY: {}}
    if any(_untrained(settings, changes) and not _sets(changes, STUDENT) for changes in arms.values()):
        return arms
    if BASE in arms:
        raise ConfigError(
            "the arm 'base' is not the untrained student",
            where=f"{where}, arms",
            remedy="give it another name, or set training: null",
        )
    return {BASE: {TRAINING: None}, **arms}


def _untrained(settings: dict[str, Any], changes: Factors) -> bool:
    training = {**settings, **changes}.get(TRAINING, {})
    return training is None and not any(key.startswith(f"{TRAINING}.") for key in changes)


def _sets(changes: Factors, section: str) -> bool:
    return any(key.partition(".")[0] == section for key in changes)


def _override(fields: dict[str, Any], key: str, value: Any) -> None:
    """Apply one ``--set``. Raises ConfigError for one that would change nothing."""
    section, _, rest = key.partition(".")
    grid, arms = fields.get("grid") or {}, fields["arms"]
    if not isinstance(grid, dict):
        raise ConfigError("grid must map an axis to its values", where="grid", remedy="write {AXIS: [VALUE, ...]}")
    if section == "grid" and rest:
        axis = grid.get(rest)
        restricted = isinstance(axis, dict) and "values" in axis and axis.keys() <= {"of", "values"}
        fields["grid"] = grid | {rest: {**axis, "values": value} if isinstance(axis, dict) and restricted else value}
    elif section == "arms" and rest:
        named = [name for name in arms if rest.startswith(f"{name}.")]
        if not named:
            hint = nearest(rest.split(".")[0], arms or [ONLY])
            raise ConfigError(
                f"{key!r} does not name an arm; {hint}", where="--set", remedy="write arms.NAME.KEY=VALUE"
            )
        name = max(named, key=len)
        arms[name] = arms[name] | {rest.removeprefix(f"{name}."): value}
    elif key in grid:
        raise ConfigError(f"{key!r} is an axis of the grid", where="--set", remedy=f"set grid.{key}=[...]")
    elif arms and all(any(f"{key}.".startswith(f"{own}.") for own in changes) for changes in arms.values()):
        remedy = f"name the arm: --set arms.{next(iter(arms))}.{key}={value}"
        raise ConfigError(f"{key!r} changes nothing: every arm sets it itself", where="--set", remedy=remedy)
    elif section in _OF_THE_FILE:
        set_dotted(fields, key, value)
    else:
        set_dotted(fields["settings"], key, value)
