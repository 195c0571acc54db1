"""A run file: one arm, or a base and named arms that override it by dotted keys, and the declared comparisons."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from pydantic import model_validator

from cotdistill.config.annotation import AnnotationConfig, AnswerOnlyTeacher, TeacherConfig
from cotdistill.config.base import Settings
from cotdistill.config.evaluation import EvaluationConfig
from cotdistill.config.model import ARM, Model, ModelConfig
from cotdistill.config.task import TaskConfig, task_shorthand
from cotdistill.config.training import TrainingConfig
from cotdistill.config.validation import validated
from cotdistill.errors import ConfigError, nearest


class RunConfig(Settings):
    """One arm: questions, their rationales, a student, its training and its test. ``training: null`` is the base."""

    task: TaskConfig
    teacher: TeacherConfig = AnswerOnlyTeacher()
    annotation: AnnotationConfig = AnnotationConfig()
    student: Model
    training: TrainingConfig | None = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    seed: int = 0

    @model_validator(mode="after")
    def served_students_are_not_trained(self) -> RunConfig:
        if self.evaluation.server and self.training:
            raise ValueError("a student behind evaluation.server cannot be trained; set training: null")
        return self


class Comparison(Settings):
    """Two arms by name, declared before the run: the difference reported is accuracy of ``a`` minus that of ``b``."""

    a: str
    b: str


class Run(Settings):
    """A run file, resolved: its question, its arms in order, and the comparisons declared between them."""

    name: str
    question: str = ""
    arms: dict[str, RunConfig]
    comparisons: tuple[Comparison, ...] = ()

    @model_validator(mode="after")
    def compared_arms_exist(self) -> Run:
        for comparison in self.comparisons:
            for arm in (comparison.a, comparison.b):
                if arm not in self.arms:
                    raise ValueError(f"comparison of unknown arm {arm!r}; {nearest(arm, self.arms)}")
        return self

    @model_validator(mode="after")
    def arms_named_as_models_come_first(self) -> Run:
        above: list[str] = []
        for name, config in self.arms.items():
            for other in filter(None, map(arm_of, models_of(config))):
                if other not in above:
                    hint = f"; {nearest(other, above)}" if above else ""
                    raise ValueError(f"arm {name!r} uses the student of arm {other!r}, which is no arm above it{hint}")
                if self.arms[other].training is None:
                    raise ValueError(
                        f"arm {name!r} uses the student of arm {other!r}, which trains none; name its model"
                    )
            above.append(name)
        return self


def arm_of(model: ModelConfig) -> str | None:
    """The arm whose student a model is (``arm:NAME``), None for any other model."""
    return model.model.removeprefix(ARM) if model.model.startswith(ARM) else None


def models_of(config: RunConfig) -> list[ModelConfig]:
    """The models that an arm needs: its student, and the teacher of its signal."""
    signal = config.training.signal if config.training else None
    return [config.student, signal.model] if signal else [config.student]


def with_models(config: RunConfig, replace: Callable[[ModelConfig], ModelConfig]) -> RunConfig:
    """The arm with each of its models replaced."""
    changed = config.model_copy(update={"student": replace(config.student)})
    if config.training is None or config.training.signal is None:
        return changed
    signal = config.training.signal.model_copy(update={"model": replace(config.training.signal.model)})
    return changed.model_copy(update={"training": config.training.model_copy(update={"signal": signal})})


def load_run(path: Path, overrides: dict[str, Any] | None = None) -> Run:
    """Read a run file (YAML) and apply ``overrides`` (dotted keys) to its base, and so to all its arms.

    What an arm sets itself stays; ``arms.NAME.KEY`` overrides that too. Keys ``question``, ``arms`` and ``comparisons``
    belong to the file; all others are RunConfig's. Paths in the file are relative to the folder of the file. Raises
    ConfigError naming key, value and remedy.
    """
    base = read_yaml(path)
    if is_study(base):
        remedy = f"cotdistill plan, study, report and advise take it: cotdistill study {path}"
        raise ConfigError("a study file, not a run file", where=path, remedy=remedy)
    question, arms, comparisons = (base.pop(key, None) for key in ("question", "arms", "comparisons"))
    if arms is not None and not (isinstance(arms, dict) and all(isinstance(v, dict | None) for v in arms.values())):
        raise ConfigError("arms must map a name to its overrides", where=f"{path}, arms")
    changes_of = {str(name): changes or {} for name, changes in (arms or {path.stem: {}}).items()}
    of_all, of_one = _by_arm(overrides or {}, changes_of)
    resolved: dict[str, RunConfig] = {}
    for name, changes in changes_of.items():
        values = json.loads(json.dumps(base, default=str))
        for key, value in (*of_all.items(), *changes.items(), *of_one[name].items()):
            set_dotted(values, key, value)
        where = f"{path}, arm {name}" if arms else str(path)
        resolved[name] = validated(RunConfig, values, where=where, folder=path.parent)
    run_name = path.stem if path.stem != "run" else path.resolve().parent.name
    fields = {
        "name": run_name,
        "question": question or "",
        "arms": resolved,
        "comparisons": comparisons or (),
    }
    return validated(Run, fields, where=str(path))


def _by_arm(
    overrides: dict[str, Any], arms: dict[str, dict[str, Any]]
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The overrides of all arms, and those that name one; raises ConfigError for one that would change nothing."""
    of_all: dict[str, Any] = {}
    of_one: dict[str, dict[str, Any]] = {name: {} for name in arms}
    for key, value in overrides.items():
        if key.startswith("arms."):
            named = [name for name in arms if key.startswith(f"arms.{name}.")]
            if not named:
                hint = nearest(key.split(".")[1], arms)
                raise ConfigError(f"no arm is named by {key!r}; {hint}", where="--set", remedy="arms.NAME.KEY=VALUE")
            name = max(named, key=len)
            of_one[name][key.removeprefix(f"arms.{name}.")] = value
        elif all(any(f"{key}.".startswith(f"{own}.") for own in changes) for changes in arms.values()):
            remedy = f"name the arm: --set arms.{next(iter(arms))}.{key}={value}"
            raise ConfigError(f"{key!r} changes nothing: every arm sets it itself", where="--set", remedy=remedy)
        else:
            of_all[key] = value
    return of_all, of_one


def is_study(values: dict[str, Any]) -> bool:
    """Whether what a file holds is a study rather than a run."""
    return not values.keys().isdisjoint(("students", "base", "grid"))


def set_dotted(values: dict[str, Any], key: str, value: Any) -> None:
    """Set ``training.epochs`` style keys in nested dictionaries, making sections that are missing or shorthand."""
    *sections, last = key.split(".")
    for section in sections:
        child = values.get(section)
        if isinstance(child, str):
            child = _shorthand_section(section, child)
        if child is None:
            child = {}
        if not isinstance(child, dict):
            raise ConfigError(f"cannot set {key!r}: {section!r} is {child!r}, not a section", where="override")
        values[section] = child
        values = child
    values[last] = value


def _shorthand_section(section: str, name: str) -> dict[str, Any]:
    """The section that a bare name stands for, so that a setting of it can be overridden."""
    if section == "task":
        return task_shorthand(name)
    return {"model": name} if section in ("student", "model") else {"kind": name}


def parse_overrides(settings: list[str]) -> dict[str, Any]:
    """``["training.epochs=1"]`` as ``{"training.epochs": 1}``; values are YAML."""
    parsed: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise ConfigError(f"expected KEY=VALUE, found {setting!r}", where="--set")
        try:
            parsed[key.strip()] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise ConfigError(f"{text!r} is no YAML value", where=f"--set {key}") from None
    return parsed


def to_yaml(settings: Settings) -> str:
    """The resolved settings as YAML that :func:`load_run` reads back."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def read_yaml(path: Path) -> dict[str, Any]:
    """The settings in a YAML file. Raises ConfigError for one that is missing, malformed or names a key twice."""
    if not path.is_file():
        remedy = "it is a folder; name the file in it" if path.is_dir() else "check the path"
        raise ConfigError("no such file", where=path, remedy=remedy)
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        problem = f"not valid YAML ({getattr(error, 'problem', error)})"
        raise ConfigError(problem, where=where, remedy="mend that line or the one above it") from None
    try:
        json.dumps(values, default=str)
    except (ValueError, RecursionError, TypeError) as error:
        raise ConfigError(f"not usable as settings ({error})", where=path, remedy="write keys as words") from None
    if not isinstance(values, dict):
        found = "nothing" if values is None else type(values).__name__
        raise ConfigError(
            f"expected a mapping of settings (KEY: VALUE), found {found}", where=path, remedy="begin with a recipe"
        )
    return values


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key that is written twice: YAML would let the last one win, and half a section disappear."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"key {key.value!r} for the second time", problem_mark=key.start_mark
                    )
                seen.add(key.value)
        return node
