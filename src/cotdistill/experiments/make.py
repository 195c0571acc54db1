"""The stages of one cell: rationales, the teacher's signal, a student, its predictions. What is finished is read.

What loads torch is imported where it is used: an annotation that is only read, or asked of a server, does without.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cotdistill.annotation import Plan as AnnotationPlan
from cotdistill.annotation import Rationales, make_annotation, read_annotation
from cotdistill.annotation import plan as plan_annotation
from cotdistill.config import (
    AnyTask,
    CachedTeacher,
    CellConfig,
    EvaluationConfig,
    ModelConfig,
    arm_of,
    with_models,
)
from cotdistill.experiments.plan import Cell, Plan
from cotdistill.storage.hashes import canonical_json
from cotdistill.tasks import Task, load_task
from cotdistill.tasks.exemplars import exemplar_questions
from cotdistill.tasks.prompts import Target

if TYPE_CHECKING:
    from cotdistill.evaluation.evaluate import Evaluation
    from cotdistill.training.signals.stored import StoredSignal
    from cotdistill.training.stage import Student

Say = Callable[[str], None]
LoadTask = Callable[[AnyTask], Task]
Until = Literal["annotate", "capture", "train", "evaluate"]
"""The verb that a run stops behind."""


def make_cell(
    cell: Cell, plan: Plan, runs: Path, *, until: Until = "evaluate", say: Say, load: LoadTask = load_task
) -> dict[str, Path]:
    """Make what is missing of a cell, up to a verb; returns the folder of each of its stages, by noun."""
    if until == "annotate" and cell.untrained:
        return {}
    asks_a_student = cell.config.annotation.selection is not None
    config = with_trained_models(cell, plan, runs, load) if until != "annotate" or asks_a_student else cell.config
    stages: dict[str, Path] = {}
    student = None
    if config.training is not None:
        stages["annotation"] = make_rationales(config, runs, load)
        if until == "annotate":
            return stages
        rationales = read_annotation(stages["annotation"])
        if until == "capture":
            if isinstance(config.training.signal, CachedTeacher):
                stages["teacher_signal"] = capture_signal_of(config, rationales, runs).folder
            return stages
        say(f"{cell.title}: train {config.student.model} on {_counted(rationales)}")
        student = train_student(config, rationales, runs)
        stages["training"] = student.path
        if student.dropped:
            say(f"{cell.title}: left out of training {_reasons(student.dropped)}")
    if until == "evaluate":
        say(f"{cell.title}: evaluate {student.model if student else f'{config.student.model}, untrained'}")
        stages["evaluation"] = _tested(cell, config, student, runs, say, load).path
    return stages


def _tested(
    cell: Cell, config: CellConfig, student: Student | None, runs: Path, say: Say, load: LoadTask
) -> Evaluation:
    from cotdistill.evaluation.statistics.averages import by_task
    from cotdistill.training.card import add_scores

    evaluation = evaluate_student(config, student, runs, load)
    if evaluation.dropped:
        say(f"{cell.title}: not asked, and counted as truncated: {_reasons(evaluation.dropped)}")
    if student is not None:
        add_scores(student.model, by_task(evaluation))
    return evaluation


def with_trained_models(cell: Cell, plan: Plan, runs: Path, load: LoadTask = load_task) -> CellConfig:
    """The cell with the folder of each student of another arm that it uses; one that is missing is trained first."""

    def trained(model: ModelConfig) -> ModelConfig:
        arm = arm_of(model)
        if arm is None:
            return model
        other = with_trained_models(plan.cell(cell.uses[arm]), plan, runs, load)
        student = train_student(other, read_annotation(make_rationales(other, runs, load)), runs)
        return model.model_copy(update={"model": str(student.model)})

    return with_models(cell.config, trained)


def with_first_models(cell: Cell, plan: Plan) -> CellConfig:
    """The cell with the model that training starts from in the place of each student of another arm, to be checked."""

    def first(model: ModelConfig) -> ModelConfig:
        arm = arm_of(model)
        return model if arm is None else with_first_models(plan.cell(cell.uses[arm]), plan).student

    return with_models(cell.config, first)


def loading_once(say: Say) -> LoadTask:
    """``load_task`` for several cells: they share tasks, and what a task leaves out is said once."""
    loaded: dict[str, Task] = {}

    def load(config: AnyTask) -> Task:
        key = canonical_json(config.model_dump(mode="json"))
        if key not in loaded:
            loaded[key] = load_task(config)
            if loaded[key].dropped:
                say(f"{loaded[key].name}: left out of the questions {_reasons(loaded[key].dropped)}")
        return loaded[key]

    return load


def make_rationales(config: CellConfig, runs: Path, load: LoadTask = load_task) -> Path:
    """The folder of the cell's rationales, which are made if need be and not read."""
    return make_annotation(runs=runs, **_annotation_of(config, load))


def plan_rationales(config: CellConfig, runs: Path, load: LoadTask = load_task) -> AnnotationPlan:
    """What is left to ask for the cell's rationales, and about what it costs."""
    return plan_annotation(runs=runs, **_annotation_of(config, load))


def _annotation_of(config: CellConfig, load: LoadTask) -> dict[str, Any]:
    evaluation = [question for task in config.evaluation.tasks or (config.task,) for question in load(task).test]
    if config.evaluation.few_shot:
        evaluation += exemplar_questions(evaluation, _data_dir(config))
    return {
        "questions": load(config.task).train,
        "teacher": config.teacher,
        "annotation": config.annotation,
        "data_dir": getattr(config.task, "data_dir", None),
        "evaluation": evaluation,
        "student": config.student,
    }


def train_student(config: CellConfig, rationales: Rationales, runs: Path) -> Student:
    from cotdistill.config.files import written_yaml
    from cotdistill.training.stage import train

    assert config.training is not None, "an untrained student has nothing to train"
    recipe = written_yaml(config.model_dump(mode="json"))
    return train(config.student, list(rationales), config.training, seed=config.seed, runs=runs, recipe=recipe)


def capture_signal_of(config: CellConfig, rationales: Rationales, runs: Path) -> StoredSignal:
    from cotdistill.training.stage import capture_signal

    assert config.training is not None, "an untrained student has no signal to capture"
    return capture_signal(config.student, list(rationales), config.training, runs=runs)


def size_of_capture(config: CellConfig, rationales: Rationales) -> dict[str, Any]:
    """What capturing the cell's teacher will read and write, in tokens and bytes."""
    from cotdistill.training.signals.capture import capture_size, readable_size
    from cotdistill.training.stage import student_examples

    assert config.training is not None
    assert isinstance(config.training.signal, CachedTeacher)
    examples = student_examples(config.student, list(rationales), config.training)
    size = capture_size(config.training.signal, examples, config.training.dtype)
    return size | {"size": readable_size(size["bytes"])}


def evaluate_student(config: CellConfig, student: Student | None, runs: Path, load: LoadTask = load_task) -> Evaluation:
    """Test the student, or the untrained model where there is none, on the cell's evaluation tasks."""
    from cotdistill.evaluation.evaluate import evaluate

    tasks = config.evaluation.tasks or (config.task,)
    questions = [question for task in tasks for question in load(task).test]
    # A student keeps the code of the model that it was made from.
    trusted = config.student.trust_remote_code
    model = ModelConfig(model=str(student.model), trust_remote_code=trusted) if student else config.student
    return evaluate(
        model,
        questions,
        target=prompt_target(config.evaluation, student),
        config=config.evaluation,
        runs=runs,
        data_dir=_data_dir(config),
    )


def _data_dir(config: CellConfig) -> Path | None:
    """The data folder that the cell's evaluation tasks name, if any of them does."""
    folders = (getattr(task, "data_dir", None) for task in config.evaluation.tasks or (config.task,))
    return next((folder for folder in folders if folder), None)


def prompt_target(config: EvaluationConfig, student: Student | None) -> Target:
    """What the prompt asks for: by default what the student was trained to give, a rationale of an untrained one."""
    if config.prompt != "auto":
        return config.prompt
    return student.target if student else "rationale"


def _counted(rationales: Rationales) -> str:
    dropped = f" (left out: {_reasons(rationales.dropped)})" if rationales.dropped else ""
    return f"{len(rationales)} rationales{dropped}"


def _reasons(dropped: dict[str, int]) -> str:
    return ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in dropped.items())
